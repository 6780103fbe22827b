"""The functions of --format's templates, and how Go shows values.

Those of text/template and those that Podman adds to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_VERB = re.compile(
    r"%(?P<flags>[-+ 0#]*)(?P<width>\d*)(?:\.(?P<precision>\d+))?(?P<verb>[a-zA-Z%])"
)


def show(value: Any) -> str:  # noqa: ANN401 - any JSON
    """`value` as Go's %v has it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(show, value)) + "]"
    return str(value)


def truth(value: Any) -> bool:  # noqa: ANN401
    """Whether Go's `if` takes it: not for nil, false, zero and what is empty."""
    return bool(value)


def to_json(value: Any) -> str:  # noqa: ANN401
    """Compact JSON, as Go writes it with SetEscapeHTML(false)."""
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_method)


def _method(value: object) -> None:
    if not callable(value):
        raise TypeError(f"{value!r} is not JSON")


def printf(pattern: str, *values: Any) -> str:  # noqa: ANN401
    """fmt.Sprintf with the verbs v, s, d, q, x, t and f."""
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        kind, shown = _shown(verb, value)
        precision = f".{found['precision']}" if found["precision"] else ""
        return str(f"%{found['flags']}{found['width']}{precision}{kind}" % shown)

    return _VERB.sub(one, pattern)


def _shown(verb: str, value: Any) -> tuple[str, Any]:  # noqa: ANN401
    """Python's verb for Go's, and what to give to it."""
    if verb in "vst":
        return "s", show(value)
    if verb == "q":
        return "s", to_json(str(value))
    if verb in "dxXofeg":
        return verb, value
    raise ValueError(f"unknown verb %{verb}")


def index(value: Any, *keys: Any) -> Any:  # noqa: ANN401
    """The item of a list or map; of a map that lacks it nothing."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise ValueError(f"index out of range: {show(key)}")
    return value


def _and(*values: Any) -> Any:  # noqa: ANN401
    return next((value for value in values if not truth(value)), values[-1])


def _or(*values: Any) -> Any:  # noqa: ANN401
    return next((value for value in values if truth(value)), values[-1])


def _equal(first: Any, *others: Any) -> bool:  # noqa: ANN401
    if not others:
        raise ValueError("missing argument for comparison")
    return any(type(first) is type(other) and first == other for other in others)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _print(*values: Any) -> str:  # noqa: ANN401
    """fmt.Sprint: a space between two that are both no texts."""
    out = ""
    for place, value in enumerate(values):
        texts = isinstance(value, str) or (place and isinstance(values[place - 1], str))
        out += (" " if place and not texts else "") + show(value)
    return out


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
    "len": len,
    "index": index,
    "slice": lambda value, start=0, end=None: value[start:end],
    "print": _print,
    "println": lambda *values: " ".join(map(show, values)) + "\n",
    "printf": printf,
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "json": to_json,
    "join": lambda values, between: between.join(map(show, values or ())),
    "split": lambda text, between: text.split(between),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: re.sub(r"\b\w", lambda found: found[0].upper(), text),
    "truncate": lambda text, length: text[:length],
    "pad": _pad,
}
"""Name -> function; a TypeError, ValueError or LookupError of theirs is the template's fault."""
