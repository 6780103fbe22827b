"""Entropy streams: SHA-1 in counter mode, one stream a process, each derived from its parent's.

The proposal says "think: sha1(seed++)". The encoding, with `||` for concatenation:

    root seed        SHA-1("nsbuild stream " || decimal digits of --seed)
    child's seed     SHA-1("nsbuild child " || parent's seed || ordinal)
    block i          SHA-1(seed || i)

`ordinal` is the number of the fork in the parent and `i` the number of the block, both counted
from 0 and written as 8 bytes, big-endian. A stream is its blocks one after another; a read takes
the next bytes, whatever the boundaries. No two siblings share a seed, and a seed never equals the
input of a block, since the lengths of what is hashed differ (28 bytes for a block, 42 for a child).

Test vectors: the root seed of --seed 0 is 23b0eaee1211fbd6e887a7be1f8f2b854a73dc43, and the vectors
in tests/unit/test_entropy.py follow from it.
"""

from __future__ import annotations

from .digest import sha1

BLOCK_SIZE = 20
SEED_SIZE = 20


def root_seed(seed: int) -> bytes:
    """The stream seed of the container's first process."""
    return sha1(b"nsbuild stream %d" % seed, usedforsecurity=False).digest()


def child_seed(parent: bytes, ordinal: int) -> bytes:
    """The stream seed of the child that was forked as number `ordinal` (from 0)."""
    data = b"nsbuild child " + parent + ordinal.to_bytes(8, "big")
    return sha1(data, usedforsecurity=False).digest()


def block(seed: bytes, index: int) -> bytes:
    """Block `index` (from 0) of the stream `seed`: 20 bytes."""
    return sha1(seed + index.to_bytes(8, "big"), usedforsecurity=False).digest()


class Stream:
    """An endless stream of bytes and the position in it.

    `peek` does not move; `advance` does, once the bytes have really been handed out.
    """

    __slots__ = ("position", "seed")

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.position = 0

    def peek(self, size: int) -> bytes:
        """The next `size` bytes."""
        first, skip = divmod(self.position, BLOCK_SIZE)
        last = (self.position + size + BLOCK_SIZE - 1) // BLOCK_SIZE
        seed = self.seed
        blocks = [
            sha1(seed + index.to_bytes(8, "big"), usedforsecurity=False).digest()
            for index in range(first, last)
        ]
        return b"".join(blocks)[skip : skip + size]

    def advance(self, size: int) -> None:
        """Step over `size` bytes."""
        self.position += size

    def child(self, ordinal: int) -> Stream:
        """The stream of the child forked as number `ordinal`."""
        return Stream(child_seed(self.seed, ordinal))
