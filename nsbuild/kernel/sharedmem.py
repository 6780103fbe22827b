"""A page of memory shared with the processes that are forked later, or that are given it."""

from __future__ import annotations

import mmap


class SharedWords:
    """Unsigned 32-bit words, all 0 at first. A read or write of one is a single access.

    With `fd`, a memfd of a page, whoever has that shares them too.
    """

    def __init__(self, fd: int = -1) -> None:
        self._page = mmap.mmap(fd, mmap.PAGESIZE)
        self.words = memoryview(self._page).cast("I")
