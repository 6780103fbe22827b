"""Words and variables of a Containerfile, as its reference has them (docs.docker.com, "Environment
replacement"; the shell's own rules where that is silent).

Variables are `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`, and the last two without the
colon, for which an empty value counts as one. Nothing is replaced inside single quotes, the escape
character takes the meaning from what follows, and quotes are removed.
"""

from __future__ import annotations

from collections.abc import Mapping

from nsbuild.errors import NsbuildError

_NAME_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_NAME = _NAME_FIRST | frozenset("0123456789")
_SPACE = " \t"


def words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The words of `text`; an unquoted variable may be several. Raises NsbuildError."""
    return _Reader(text, variables, escape).words()


def value(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """The whole of `text` as one value; raises NsbuildError."""
    return _Reader(text, variables, escape).value()


def pairs(text: str, variables: Mapping[str, str], escape: str = "\\") -> dict[str, str]:
    """What `NAME=VALUE...` sets, or the old form `NAME VALUE`; raises NsbuildError."""
    raw = split(text, escape)
    if raw and "=" not in raw[0]:
        name, _, rest = text.strip().partition(" ")
        if not rest.strip():
            raise NsbuildError(f"{name} has no value", "write NAME=VALUE")
        return {value(name, variables, escape): value(rest.strip(), variables, escape)}
    found = {}
    for word in raw:
        name, equals, rest = word.partition("=")
        if not equals or not name:
            raise NsbuildError(f"{word!r} is not NAME=VALUE", "quote values with spaces in them")
        found[value(name, variables, escape)] = value(rest, variables, escape)
    return found


def split(text: str, escape: str = "\\") -> list[str]:
    """The words of `text` as they are written, with quotes, escapes and variables in them."""
    found: list[str] = []
    word, quote, skip = "", "", False
    for char in text:
        if skip:
            skip = False
        elif char == escape and quote != "'":
            skip = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _SPACE:
            if word:
                found.append(word)
            word = ""
            continue
        word += char
    return [*found, word] if word else found


class _Reader:
    """Reads once through a text; `_done` are complete words, `_word` is None between two."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._at = 0
        self._variables = variables
        self._escape = escape
        self._done: list[str] = []
        self._word: str | None = None
        self._splits = False

    def words(self) -> list[str]:
        self._splits = True
        self._read("")
        self._end_word()
        return self._done

    def value(self) -> str:
        self._read("")
        return self._word or ""

    def _read(self, end: str) -> None:
        """Read to the end of the text, or to an unquoted `end`, which is then read too."""
        while self._at < len(self._text):
            char = self._next()
            if char == end:
                return
            if char == self._escape:
                self._add(self._next() or char)
            elif char == "'":
                self._add(self._until_quote())
            elif char == '"':
                self._double_quoted()
            elif char == "$":
                self._unquoted(self._variable())
            elif char in _SPACE and self._splits and not end:
                self._end_word()
            else:
                self._add(char)
        if end:
            raise self._error(f"no {end} to end the variable")

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def _add(self, text: str) -> None:
        self._word = (self._word or "") + text

    def _end_word(self) -> None:
        if self._word is not None:
            self._done.append(self._word)
        self._word = None

    def _unquoted(self, text: str) -> None:
        if not self._splits:
            self._add(text)
            return
        parts = text.split()
        if text[:1].isspace():
            self._end_word()
        for number, part in enumerate(parts):
            if number:
                self._end_word()
            self._add(part)
        if parts and text[-1:].isspace():
            self._end_word()

    def _until_quote(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise self._error("a single quote is not closed")
        text, self._at = self._text[self._at : end], end + 1
        return text

    def _double_quoted(self) -> None:
        self._add("")
        while self._at < len(self._text):
            char = self._next()
            if char == '"':
                return
            if char == self._escape:
                after = self._next()
                # As in a shell, it stays before what it has no meaning for.
                self._add(after if after in ('"', "$", self._escape) else char + after)
            elif char == "$":
                self._add(self._variable())
            else:
                self._add(char)
        raise self._error("a double quote is not closed")

    def _variable(self) -> str:
        """The value of what follows a dollar sign."""
        if self._text[self._at : self._at + 1] != "{":
            name = self._name()
            # A dollar sign before anything else is one.
            return self._variables.get(name, "") if name else "$"
        self._at += 1
        name = self._name()
        found = self._variables.get(name)
        operator = self._next()
        if not name or not operator:
            raise self._error("a variable is not complete")
        if operator == "}":
            return found or ""
        colon = operator == ":"
        if colon:
            operator = self._next()
            found = found or None
        if operator not in ("-", "+"):
            raise self._error(f"{operator!r} means nothing in a variable")
        other = self._rest_of_variable()
        if operator == "-":
            return other if found is None else found
        return "" if found is None else other

    def _rest_of_variable(self) -> str:
        inner = _Reader(self._text, self._variables, self._escape)
        inner._at = self._at
        inner._read("}")
        self._at = inner._at
        return inner._word or ""

    def _name(self) -> str:
        start = self._at
        allowed = _NAME_FIRST
        while self._text[self._at : self._at + 1] in allowed and self._at < len(self._text):
            self._at += 1
            allowed = _NAME
        return self._text[start : self._at]

    def _error(self, what: str) -> NsbuildError:
        return NsbuildError(f"cannot read {self._text!r}: {what}")
