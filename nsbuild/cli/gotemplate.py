"""The templates of --format: what of Go's text/template people type at Podman.

`{{.ID}}`, `{{json .Config.Env}}`, `{{range $k, $v := .Labels}}...{{end}}`, `{{if}}`, `{{with}}`,
variables, pipelines, parentheses, trimming dashes, comments, comparisons, and the functions that
Podman adds (join, json, lower, pad, split, title, truncate, upper). Templates that define or call
others are refused.

Values are what json has: dicts for structs and maps, lists, texts, numbers, None. A callable value
is a method, as in `{{.Label "version"}}`. Go tells a struct's missing field, an error, from a map's
missing key, which is empty. Here a name that begins with a capital is a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from nsbuild.cli.gofunctions import FUNCTIONS, show, truth
from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple

_ACTION = re.compile(
    r"\{\{(?P<left>- )?\s*(?P<body>/\*.*?\*/"
    r"|(?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|'(?:\\.|[^'\\])*'|(?!\}\})[^\"`'])*?)"
    r"(?P<right> -)?\}\}",
    re.DOTALL,
)
_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:\\.|[^\"\\])*\"|`[^`]*`)|(?P<char>'(?:\\.|[^'\\])*')"
    r"|(?P<number>[+-]?\d+(?:\.\d+)?)|(?P<variable>\$\w*)|(?P<field>\.\w+)"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<mark>:=|[.|(),=]))"
)
_SPACE = re.compile(r"\s")
_CONSTANTS = {"true": True, "false": False, "nil": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\", "a": "\a", "0": "\0"}


class Token(NamedTuple):
    """A word of an action; `spaced` says that white space stands before it."""

    kind: str
    text: str
    spaced: bool


class Scope:
    """Where the dot is, and the variables."""

    def __init__(self, dot: Any, variables: dict[str, Any]) -> None:  # noqa: ANN401 - any JSON
        self.dot = dot
        self.variables = variables

    def inner(self, dot: Any) -> Scope:  # noqa: ANN401
        """The scope of a block; variables made in it end with it."""
        return Scope(dot, dict(self.variables))


class Template:
    """A parsed template; raises NsbuildError for one that is not."""

    def __init__(self, text: str, name: str = "format") -> None:
        self.name = name
        self._pieces = list(_pieces(text, self))
        self._place = 0
        self._nodes, ended_by = self._block()
        if ended_by:
            raise self.error(f"unexpected {{{{{ended_by}}}}}")

    def render(self, value: Any) -> str:  # noqa: ANN401
        """The text for `value`; raises NsbuildError where the template does not fit it."""
        out: list[str] = []
        self._run(self._nodes, Scope(value, {"$": value}), out)
        return "".join(out)

    def error(self, why: str) -> NsbuildError:
        """What is wrong with the template."""
        return NsbuildError(f"template: {self.name}: {why}")

    def _block(self) -> tuple[list[Node], str]:
        """The nodes up to an action that ends a block, and that action's text."""
        nodes: list[Node] = []
        while self._place < len(self._pieces):
            piece = self._pieces[self._place]
            self._place += 1
            if isinstance(piece, str):
                nodes.append(piece)
                continue
            word = piece[0].text if piece and piece[0].kind == "word" else ""
            if word in ("end", "else"):
                return nodes, " ".join(token.text for token in piece)
            if word in ("if", "with", "range"):
                nodes.append(self._control(word, piece[1:]))
            elif word in ("define", "template", "block", "break", "continue"):
                raise self.error(f"{{{{{word}}}}} is not supported")
            elif piece:
                nodes.append(Action(*_assignment(piece)))
        return nodes, ""

    def _control(self, word: str, tokens: Sequence[Token]) -> Control:
        names, rest = _assignment(tokens)
        if not rest:
            raise self.error(f"missing value for {word}")
        body, ended_by = self._block()
        otherwise: list[Node] = []
        if ended_by.startswith("else "):
            nested = ended_by.split()[1]
            if nested != word or word == "range":
                raise self.error(f"unexpected {{{{{ended_by}}}}}")
            # The tokens once more, since the piece itself is what follows `else`.
            piece = self._pieces[self._place - 1]
            assert not isinstance(piece, str)
            return Control(word, names, rest, body, [self._control(nested, piece[2:])])
        if ended_by == "else":
            otherwise, ended_by = self._block()
        if ended_by != "end":
            raise self.error("unexpected EOF")
        return Control(word, names, rest, body, otherwise)

    def _run(self, nodes: Sequence[Node], scope: Scope, out: list[str]) -> None:
        for node in nodes:
            if isinstance(node, str):
                out.append(node)
            elif isinstance(node, Action):
                value = Evaluation(self, node.tokens, scope).whole()
                for name in node.names:
                    scope.variables[name] = value
                if not node.names:
                    out.append(show(value))
            else:
                self._choose(node, scope, out)

    def _choose(self, node: Control, scope: Scope, out: list[str]) -> None:
        value = Evaluation(self, node.tokens, scope).whole()
        if node.word == "range" and truth(value):
            for key, item in _items(value, self):
                inner = scope.inner(item)
                inner.variables.update(zip(reversed(node.names), (item, key), strict=False))
                self._run(node.body, inner, out)
        elif truth(value):
            inner = scope.inner(value if node.word == "with" else scope.dot)
            inner.variables.update(dict.fromkeys(node.names, value))
            self._run(node.body, inner, out)
        else:
            self._run(node.otherwise, scope.inner(scope.dot), out)


class Action(NamedTuple):
    """Shows the value of `tokens`, or gives it to the variables `names`."""

    names: tuple[str, ...]
    tokens: tuple[Token, ...]


class Control(NamedTuple):
    """if, with or range."""

    word: str
    names: tuple[str, ...]
    tokens: tuple[Token, ...]
    body: list[Node]
    otherwise: list[Node]


Node = str | Action | Control


def _pieces(text: str, template: Template) -> Iterator[str | list[Token]]:
    """Texts and the tokens of actions, in turn."""
    place = 0
    trim = False
    while True:
        found = _ACTION.search(text, place)
        plain = text[place : found.start() if found else len(text)]
        if "{{" in plain:
            raise template.error("unclosed action")
        if trim:
            plain = plain.lstrip()
        if found and found["left"]:
            plain = plain.rstrip()
        if plain:
            yield plain
        if not found:
            return
        trim = bool(found["right"])
        if not found["body"].startswith("/*"):
            yield list(_tokens(found["body"], template))
        place = found.end()


def _tokens(body: str, template: Template) -> Iterator[Token]:
    place = 0
    body = body.rstrip()
    while place < len(body):
        found = _TOKEN.match(body, place)
        if not found:
            raise template.error(f"unexpected {body[place:].strip()[:10]!r} in {{{{{body}}}}}")
        kind = found.lastgroup or ""
        yield Token(kind, found[kind], bool(_SPACE.match(body[place])) or not place)
        place = found.end()


def _assignment(tokens: Sequence[Token]) -> tuple[tuple[str, ...], tuple[Token, ...]]:
    """The variables in front of := (or =), and what stands behind it."""
    marks = [token.text for token in tokens[:4]]
    for sign in (":=", "="):
        if sign in marks:
            at = marks.index(sign)
            names = tuple(token.text for token in tokens[:at] if token.kind == "variable")
            return names, tuple(tokens[at + 1 :])
    return (), tuple(tokens)


def _items(value: Any, template: Template) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """(key, item) of what range goes over; a map's in the order of its keys."""
    if isinstance(value, dict):
        yield from sorted(value.items())
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    else:
        raise template.error(f"range can't iterate over {show(value)}")


class Evaluation:
    """The value of the tokens of one action."""

    def __init__(self, template: Template, tokens: Sequence[Token], scope: Scope) -> None:
        self._template = template
        self._tokens = tokens
        self._scope = scope
        self._place = 0

    def whole(self) -> Any:  # noqa: ANN401
        """The value of all tokens."""
        value = self._pipeline()
        if self._place < len(self._tokens):
            raise self._template.error(f"unexpected {self._tokens[self._place].text!r}")
        return value

    def _peek(self) -> Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _pipeline(self) -> Any:  # noqa: ANN401
        value = self._command(())
        while (token := self._peek()) and token.text == "|" and token.kind == "mark":
            self._place += 1
            value = self._command((value,))
        return value

    def _command(self, piped: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """A function or method with its arguments, or a single value."""
        first = self._peek()
        if first is None:
            raise self._template.error("missing value for command")
        if first.kind == "word" and first.text not in _CONSTANTS:
            self._place += 1
            return self._call(first.text, (*self._arguments(), *piped))
        value = self._operand()
        arguments = (*self._arguments(), *piped)
        if callable(value):
            return value(*arguments)
        if arguments:
            raise self._template.error(f"can't give argument to non-function {first.text}")
        return value

    def _arguments(self) -> list[Any]:
        found = []
        while (token := self._peek()) and not (token.kind == "mark" and token.text in "|)"):
            found.append(self._operand())
        return found

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        function = FUNCTIONS.get(name)
        if function is None:
            raise self._template.error(f'function "{name}" not defined')
        try:
            return function(*arguments)
        except (TypeError, ValueError, LookupError) as error:
            raise self._template.error(f"error calling {name}: {error}") from error

    def _operand(self) -> Any:  # noqa: ANN401
        """A constant, the dot, a variable or what is in parentheses, and the fields behind it."""
        token = self._tokens[self._place]
        self._place += 1
        if token.kind == "field":
            value = self._field(self._scope.dot, token.text)
        elif token.kind == "variable":
            if token.text not in self._scope.variables:
                raise self._template.error(f'undefined variable "{token.text}"')
            value = self._scope.variables[token.text]
        elif token.kind in ("string", "char"):
            value = _unquote(token.text)
        elif token.kind == "number":
            value = float(token.text) if "." in token.text else int(token.text)
        elif token.kind == "word":
            value = self._word(token.text)
        elif token.text == ".":
            value = self._scope.dot
        elif token.text == "(":
            value = self._pipeline()
            if (closing := self._peek()) is None or closing.text != ")":
                raise self._template.error("unclosed left paren")
            self._place += 1
        else:
            raise self._template.error(f"unexpected {token.text!r}")
        while (token_ := self._peek()) and token_.kind == "field" and not token_.spaced:
            self._place += 1
            value = self._field(value, token_.text)
        return value

    def _word(self, word: str) -> Any:  # noqa: ANN401
        return _CONSTANTS[word] if word in _CONSTANTS else self._call(word, ())

    def _field(self, value: Any, field: str) -> Any:  # noqa: ANN401
        name = field[1:]
        if isinstance(value, dict):
            if name in value:
                return value[name]
            if not name[0].isupper():
                return ""
        if value is None:
            raise self._template.error(f"nil pointer evaluating {field}")
        raise self._template.error(f"at <{field}>: can't evaluate field {name}")


def _unquote(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])
