"""What long work says while it goes on: lines on stderr, or one that changes on a terminal.

The latter is rich's, which also looks at NO_COLOR; it is loaded only then. Nothing is redrawn but
when something has happened: a thread for that would be in the way of those who fork.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any


class Progress:
    """Says what goes on; nothing if `quiet`."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if not self._quiet and _on_terminal():
            with contextlib.suppress(ImportError):
                self._open()
        return self

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import DownloadColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), DownloadColumn()
        console = Console(stderr=True)
        self._bar = Bar(*columns, console=console, auto_refresh=False, transient=True)
        self._bar.start()
        self._task = self._bar.add_task("", total=None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Something has begun."""
        if self._bar is not None:
            self._bar.reset(self._task, total=None, description=line[:60])
            self._bar.refresh()
        elif not self._quiet:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def advance(self, count: int) -> None:
        """`count` bytes more of it are done."""
        if self._bar is not None:
            self._bar.advance(self._task, count)
            self._bar.refresh()


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def reporting(quiet: bool) -> Iterator[Progress]:
    """Progress for the length of a block."""
    with Progress(quiet) as progress:
        yield progress
