"""The command line of what builds many things and makes a page for the documentation of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar


class BuildError(Exception):
    """A build or a tool failed; the text ends with what it said last."""


class Named(Protocol):
    """What can be asked for by its name."""

    @property
    def name(self) -> str:
        """As it is in the table."""


Item = TypeVar("Item", bound=Named)
Result = TypeVar("Result")


def make_table(
    title: tuple[str, str],
    known: Sequence[Item],
    compare: Callable[[Item], Result],
    show: Callable[[Result], None],
    page: Callable[[Sequence[Result]], str],
    is_right: Callable[[Result], bool],
) -> int:
    """Build what is asked for and `show` it; the exit status says whether all of it `is_right`.

    `title` is the program's name and what it does. `compare` may raise BuildError.
    """
    parser = argparse.ArgumentParser(prog=title[0], description=title[1])
    parser.add_argument("--write", type=Path, help="write the page for the documentation here")
    parser.add_argument("name", nargs="*", help="default: all of them")
    asked = parser.parse_args()
    chosen = [item for item in known if item.name in asked.name or not asked.name]
    if unknown := set(asked.name) - {item.name for item in chosen}:
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    results = []
    for item in chosen:
        try:
            results.append(compare(item))
        except BuildError as error:
            print(f"{item.name}: {error}", flush=True)
            continue
        show(results[-1])
    if asked.write:
        asked.write.write_text(page(results))
    return 0 if len(results) == len(chosen) and all(map(is_right, results)) else 1
