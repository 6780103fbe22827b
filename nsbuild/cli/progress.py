"""What long work says while it goes on: lines on stderr, or one that changes on a terminal.

The latter is rich's, which also looks at NO_COLOR; it is loaded only then. Nothing is redrawn but
when something has happened: a thread for that would be in the way of those who fork.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from types import TracebackType
from typing import Any

from nsbuild.cli import human

_SECONDS = 0.1
"""Between two looks of it; what is counted comes in pieces of 512 bytes."""


class Progress:
    """Says what goes on; nothing if `quiet`."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._shown = 0.0
        self._line, self._done = "", 0

    def __enter__(self) -> Progress:
        if not self._quiet and _on_terminal():
            with contextlib.suppress(ImportError):
                self._open()
        return self

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn

        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False)
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

    @property
    def moves(self) -> bool:
        """Whether there is a line that changes."""
        return self._bar is not None

    def say(self, line: str) -> None:
        """Something has begun."""
        if self._bar is not None:
            self._line, self._done = line[:60], 0
            self._bar.update(self._task, description=self._line, refresh=True)
        elif not self._quiet:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def advance(self, count: int) -> None:
        """`count` bytes more of it are done."""
        if self._bar is None:
            return
        self._done += count
        now = time.monotonic()
        if now - self._shown > _SECONDS:
            self._shown = now
            text = f"{self._line} {human.size(self._done)}"
            self._bar.update(self._task, description=text, refresh=True)


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
