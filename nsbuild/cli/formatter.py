"""How a help text is laid out: as argparse does it, told the width of the terminal.

argparse lays every option out when it is added, to see whether that works, and each time asks the
terminal, by a module that loads compressors.
"""

from __future__ import annotations

import argparse
import functools
import os

_FALLBACK = 80
_MARGIN = 2


class Formatter(argparse.HelpFormatter):
    """For `formatter_class`."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - _MARGIN)


@functools.cache
def _columns() -> int:
    """As shutil.get_terminal_size has it."""
    text = os.environ.get("COLUMNS", "")
    if text.isdecimal() and int(text):
        return int(text)
    try:
        return os.get_terminal_size(1).columns or _FALLBACK
    except OSError:
        return _FALLBACK
