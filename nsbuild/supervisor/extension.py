"""The C extension itself: whether it is there, and what of it init needs, who loads little else."""

from __future__ import annotations

import os

from nsbuild.kernel import files

try:
    from nsbuild import _hotcalls as extension
except ImportError:
    extension = None  # type: ignore[assignment]

__all__ = ["SWITCH", "available", "extension", "serve_numbers", "statx"]

SWITCH = "NSBUILD_HOTCALLS"
"""In the environment: 0 turns the extension off."""


def available() -> bool:
    """Whether the extension is there and wanted."""
    return extension is not None and os.environ.get(SWITCH, "1") != "0"


statx = extension.statx if available() else files.statx
"""As nsbuild.kernel.files has it."""


def serve_numbers(requests: int, wake: int, last_pid: int, numbers: range) -> bytes | None:
    """In init: answer RESERVE, BORN and EXISTS until there is another request, which is returned.

    None once `wake` is readable, b"" at the end; `last_pid` is an open ns_last_pid, and `numbers`
    are those that may be handed out.
    """
    return extension.serve_numbers(requests, wake, last_pid, numbers.start, numbers.stop)
