"""The one error type that reaches a user.

Everything that can go wrong because of the host, the arguments or the target is raised as
`NsbuildError` and printed by the command line as one line: what failed, on what and why, with a
hint behind it. Any other exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import os
import sys

EXIT_OURS = 125
"""nsbuild itself failed, usage errors included (as chroot(1) and podman-run(1))."""
EXIT_CANNOT_INVOKE = 126
"""The command was found but cannot be invoked."""
EXIT_NOT_FOUND = 127
"""The command was not found."""


class NsbuildError(Exception):
    """A failure to report in one line.

    `message` says what failed, on what and why; `hint` what to do about it; `code` is the exit
    status, one of the EXIT_ constants.
    """

    def __init__(self, message: str, hint: str = "", code: int = EXIT_OURS) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    @classmethod
    def from_os(
        cls, what: str, error: OSError, hint: str = "", code: int = EXIT_OURS
    ) -> NsbuildError:
        """Wrap `error`, which happened while doing `what`."""
        reason = os.strerror(error.errno) if error.errno else str(error)
        return cls(f"{what}: {reason}", hint, code)


class _Voice:
    """Whose name stands before what we say, and whether warnings are said at all."""

    program = "nsbuild"
    quiet = False
    every_line = True


def speak_as(program: str, quiet: bool, every_line: bool = True) -> None:
    """Say `program` before each report from now on; if `quiet`, give no warning.

    Unless `every_line`, a report of several lines has it before the first alone.

    For a program that stands in for another one, whose callers expect no other words on stderr.
    """
    _Voice.program = program
    _Voice.quiet = quiet
    _Voice.every_line = every_line


def warn(text: str) -> None:
    """Tell the user something that does not stop us: one line on stderr, unless we are quiet."""
    if not _Voice.quiet:
        _say("nsbuild", text)


def report(text: str) -> None:
    """Tell the user what has failed: a line on stderr for each one of `text`."""
    first, *others = text.split("\n")
    _say(_Voice.program, first)
    for line in others:
        _say(_Voice.program if _Voice.every_line else "", line)


def _say(program: str, text: str) -> None:
    # None where the caller has closed the descriptor.
    if sys.stderr is not None:
        head = f"{program}: " if program else ""
        sys.stderr.write(f"{head}{text}\n")
        sys.stderr.flush()
