"""A command line read as getopt_long(3) reads it, up to the first word that is no option.

argparse neither says what getopt says nor lets an argument look like one of its options, and costs
10 ms of every start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nsbuild.errors import NsbuildError


class Unknown(NsbuildError):
    """A command line that cannot be understood."""


def read(
    arguments: Sequence[str], theirs: Mapping[str, bool], ours: Mapping[str, bool]
) -> tuple[dict[str, str], list[str]]:
    """The options of `arguments`, by name, and the operands; raises Unknown.

    `theirs` and `ours` tell of each long option whether it takes a value; those of `theirs` may be
    abbreviated as long as no other of them begins so, and `ours` stay out of that.
    """
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if not word.startswith("--"):
            raise Unknown(f"invalid option -- '{word[1]}'")
        given, equals, value = word[2:].partition("=")
        name = _full_name(given, word, theirs, ours)
        if not {**theirs, **ours}[name]:
            if equals:
                raise Unknown(f"option '--{name}' doesn't allow an argument")
        elif not equals:
            if not rest:
                raise Unknown(f"option '--{name}' requires an argument")
            value = rest.pop(0)
        options[name] = value
        if name in ("help", "version"):
            # Whatever follows is not looked at any more.
            return options, []
    return options, rest


def _full_name(given: str, word: str, theirs: Mapping[str, bool], ours: Mapping[str, bool]) -> str:
    if given in theirs or given in ours:
        return given
    meant = [name for name in theirs if name.startswith(given)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        among = "".join(f" '--{name}'" for name in meant)
        raise Unknown(f"option '{word}' is ambiguous; possibilities:{among}")
    raise Unknown(f"unrecognized option '{word}'")
