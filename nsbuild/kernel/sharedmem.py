"""A page of memory shared with the processes that are forked later."""

from __future__ import annotations

import mmap


class SharedWords:
    """Unsigned 32-bit words, all 0 at first. A read or write of one is a single access."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self.words = memoryview(self._page).cast("I")
