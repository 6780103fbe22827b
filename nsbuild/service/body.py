"""Reading the body of a request strictly: what nobody has asked for by the end is refused in words.

Docker reads JSON with Go's library, to which `type`, `Type` and `TYPE` are one name; so are they
here. A field that is empty, whatever it is called, asks for nothing and is let through: clients
send dozens of those.
"""

from __future__ import annotations

from typing import Any, TypeVar

from nsbuild.service.errors import ApiError

_T = TypeVar("_T")
_BLANK = (None, False, 0, -1, "")
"""-1 is how the clients say `no limit`."""


class Body:
    """The fields of a JSON object; `where` is in front of their names in errors."""

    def __init__(self, fields: object, where: str = "") -> None:
        if not isinstance(fields, dict):
            raise ApiError(400, f"{where or 'the body'}: not a JSON object")
        self.where = where
        self._fields = {str(name).lower(): (str(name), value) for name, value in fields.items()}

    def _take(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        return self._fields.pop(name.lower(), (name, None))[1]

    def _typed(self, name: str, kind: type[_T], missing: _T) -> _T:
        value = self._take(name)
        if value is None:
            return missing
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.bad(name, f"not {_KINDS[kind]}")
        return value

    def bad(self, name: str, why: str) -> ApiError:
        """The error that the field `name` deserves."""
        return ApiError(400, f"{self.where}{name}: {why}")

    def text(self, name: str) -> str:
        """A text; empty where there is none."""
        return self._typed(name, str, "")

    def flag(self, name: str) -> bool:
        """A truth value; false where there is none."""
        return self._typed(name, bool, False)

    def number(self, name: str, missing: int = 0) -> int:
        """A whole number."""
        return self._typed(name, int, missing)

    def optional_number(self, name: str) -> int | None:
        """A whole number, if there is one."""
        return None if self.peek(name) is None else self.number(name)

    def either(self, name: str) -> str:
        """A text, or a number as text."""
        value = self._take(name)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.bad(name, "neither a text nor a number")
        return str(value)

    def words(self, name: str) -> list[str] | None:
        """A list of texts, or one text for a list of it; None where there is none."""
        value = self._take(name)
        if value is None or isinstance(value, str):
            return None if value is None else [value]
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self.bad(name, "not a list of texts")
        return list(value)

    def table(self, name: str) -> dict[str, str]:
        """Texts by name."""
        value = self._typed(name, dict, {})
        if not all(isinstance(text, str) for text in value.values()):
            raise self.bad(name, "not an object of texts")
        return {str(key): text for key, text in value.items()}

    def keys(self, name: str) -> list[str]:
        """The names in an object of which the values say nothing."""
        return [str(key) for key in self._typed(name, dict, {})]

    def objects(self, name: str) -> list[Body]:
        """A list of objects."""
        values = self._typed(name, list, [])
        return [Body(one, f"{self.where}{name}[{i}].") for i, one in enumerate(values)]

    def inner(self, name: str) -> Body:
        """An object; empty where there is none."""
        return Body(self._typed(name, dict, {}), f"{self.where}{name}.")

    def peek(self, name: str) -> object:
        """The field as it is, which stays."""
        return self._fields.get(name.lower(), (name, None))[1]

    def skip(self, *names: str, **values: tuple[object, ...]) -> None:
        """Let fields be whatever they are, or one of the `values` by name, which change nothing."""
        for name in names:
            self._take(name)
        for name, allowed in values.items():
            if self.peek(name) in allowed:
                self._take(name)

    def finish(self) -> None:
        """Refuse what has not been asked for."""
        for name, value in self._fields.values():
            if not _is_blank(value):
                raise self.bad(name, "nsbuild has nothing of the kind")


_KINDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    dict: "an object",
    list: "a list",
}


def _is_blank(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_blank, value.values()))
    if isinstance(value, list):
        return all(map(_is_blank, value))
    return value in _BLANK
