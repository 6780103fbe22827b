"""A command line read as getopt_long(3) reads it, up to the first word that is no option.

argparse neither says what getopt says nor lets an argument look like one of its options, and costs
10 ms of every start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from nsbuild.errors import NsbuildError

Takes = Mapping[str, "bool | None"]
"""Long option -> whether it takes a value; None: only one that is given behind a `=`."""


_STOP = ("help", "version")
"""What follows one of these is not looked at any more."""


class Unknown(NsbuildError):
    """A command line that cannot be understood."""


def read(arguments: Sequence[str], theirs: Takes, ours: Takes) -> tuple[dict[str, str], list[str]]:
    """The options of `arguments`, by name, and the operands; the last one of a name counts.

    Like `scan` otherwise, without short options.
    """
    given, operands = scan(arguments, theirs, ours, {})
    return dict(given), operands


def scan(
    arguments: Sequence[str],
    theirs: Takes,
    ours: Takes,
    letters: Mapping[str, str],
) -> tuple[list[tuple[str, str]], list[str]]:
    """The options of `arguments` in their order, each with its value, and the operands.

    Those of `theirs` may be abbreviated as long as no other of them begins so, and `ours` stay out
    of that; `letters` are the short names of some, or of some with a value (NAME=VALUE). Raises
    Unknown.
    """
    takes = {**theirs, **ours}
    options: list[tuple[str, str]] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            options.append(_long(word, rest, theirs, takes))
        else:
            options.extend(_short(word[1:], rest, letters, takes))
        if options[-1][0] in _STOP:
            return options, []
    return options, rest


def _long(word: str, rest: list[str], theirs: Takes, takes: Takes) -> tuple[str, str]:
    given, equals, value = word[2:].partition("=")
    name = _full_name(given, word, theirs, takes)
    if takes[name] is False and equals:
        raise Unknown(f"option '--{name}' doesn't allow an argument")
    if takes[name] and not equals:
        if not rest:
            raise Unknown(f"option '--{name}' requires an argument")
        value = rest.pop(0)
    return name, value


def _short(
    word: str, rest: list[str], letters: Mapping[str, str], takes: Takes
) -> list[tuple[str, str]]:
    """The options of a word such as -qD or -DIRECTORY."""
    options = []
    while word:
        letter, word = word[0], word[1:]
        if letter not in letters:
            raise Unknown(f"invalid option -- '{letter}'")
        name, _, value = letters[letter].partition("=")
        if takes[name] and not value:
            if not word and not rest:
                raise Unknown(f"option requires an argument -- '{letter}'")
            value, word = word or rest.pop(0), ""
        options.append((name, value))
    return options


def _full_name(given: str, word: str, theirs: Takes, takes: Takes) -> str:
    if given in takes:
        return given
    meant = [name for name in theirs if name.startswith(given)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        among = "".join(f" '--{name}'" for name in meant)
        raise Unknown(f"option '{word}' is ambiguous; possibilities:{among}")
    raise Unknown(f"unrecognized option '{word}'")


def tell(text: str) -> int:
    """Write what --help or --version asks for; returns the exit code, raises NsbuildError."""
    try:
        os.write(1, text.encode())
    except OSError as error:
        raise NsbuildError.from_os("write error", error) from error
    return 0
