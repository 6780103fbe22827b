"""Which files of a context do not belong to it: .containerignore, or .dockerignore.

One pattern a line (docs.docker.com, ".dockerignore files"): `*` and `?` within a name, `[a-z]`,
`**` over any number of directories, `!` in front takes back what an earlier line excluded, `#`
begins a comment. A pattern that fits a directory fits all below it. The last that fits decides.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable

from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple

NAMES = (".containerignore", ".dockerignore")
"""In a context, the first of them that is there counts."""


class Rule(NamedTuple):
    """One line: what it fits, and whether it includes."""

    fits: re.Pattern[str]
    includes: bool


class Ignore:
    """The rules of a context."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        rules = (_rule(line) for line in lines)
        self._rules = [rule for rule in rules if rule is not None]
        self._last_word = any(rule.includes for rule in self._rules)

    def excludes(self, path: str) -> bool:
        """Whether the relative `path`, or a directory that it is in, is excluded."""
        excluded = False
        for rule in self._rules:
            if rule.includes == excluded and rule.fits.match(path):
                excluded = not rule.includes
        return excluded

    def may_skip(self, directory: str) -> bool:
        """Whether nothing below an excluded directory can be included again."""
        return self.excludes(directory) and not self._last_word


def read_ignore(context: str, given: str | None) -> Ignore:
    """The rules of the directory `context`, or of the file `given`; raises NsbuildError."""
    paths = [given] if given else [os.path.join(context, name) for name in NAMES]
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                return Ignore(file)
        except FileNotFoundError as error:
            if given:
                raise NsbuildError.from_os(f"cannot read {path}", error) from error
        except (OSError, UnicodeDecodeError) as error:
            raise NsbuildError(f"cannot read {path}: {error}") from error
    return Ignore()


def _rule(line: str) -> Rule | None:
    text = line.strip()
    if not text or line.startswith("#"):
        return None
    includes = text.startswith("!")
    text = posixpath.normpath(text.lstrip("!").strip()).lstrip("/")
    if text in ("", "."):
        return None
    try:
        return Rule(re.compile(f"{translate(text)}(?:/.*)?\\Z", re.DOTALL), includes)
    except re.error as error:
        raise NsbuildError(f"cannot read pattern {text!r}: {error}") from error


def translate(pattern: str) -> str:
    """The regular expression for a pattern; slashes are only fitted by `**` and themselves."""
    result, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if pattern[at : at + 1] != "*":
                result += "[^/]*"
                continue
            at += 1
            if pattern[at : at + 1] == "/":
                at += 1
                result += "(?:.*/)?"
            else:
                result += ".*"
        elif char == "?":
            result += "[^/]"
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0:
            body = pattern[at:end].replace("\\", "\\\\")
            at = end + 1
            result += f"(?!/)[{body}]"
        elif char == "\\" and at < len(pattern):
            result += re.escape(pattern[at])
            at += 1
        else:
            result += re.escape(char)
    return result
