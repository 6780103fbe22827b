"""st_blocks as a file system with blocks of 4096 bytes has them.

What a small file takes depends on the file system (some keep it in the inode), and so does what is
reserved beyond the end. Of a file with holes the kernel's number counts what the file system needs
to find its parts, too, from when they are written to the disk on; what is shown is how many blocks
have data (SEEK_DATA of lseek(2)).
"""

from __future__ import annotations

import errno
import os

from nsbuild.kernel.files import AT_SYMLINK_NOFOLLOW

BLOCK_SIZE = 4096
SECTORS = BLOCK_SIZE // 512
_MOST_PARTS = 1 << 14
"""Of a file in more parts than these the kernel's number has to do."""


def has_holes(size: int, sectors: int) -> bool:
    """Whether a regular file for which the kernel tells that many `sectors` has less than all."""
    return size > BLOCK_SIZE and sectors * 512 < size


def whole(size: int) -> int:
    """The sectors of a file without holes."""
    return -(-size // BLOCK_SIZE) * SECTORS


def with_holes(path: bytes, flags: int, sectors: int) -> int:
    """The sectors of the blocks with data of the regular file at `path`.

    `flags` is 0 or AT_SYMLINK_NOFOLLOW. Where it may not be opened, the kernel's, rounded up.
    """
    nofollow = os.O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0
    otherwise = -(-sectors // SECTORS) * SECTORS
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | nofollow)
    except OSError:
        return otherwise
    try:
        return _count(fd) * SECTORS
    except OSError:
        return otherwise
    finally:
        os.close(fd)


def _count(fd: int) -> int:
    """How many blocks of an open file have data; raises OSError, E2BIG for too many parts."""
    blocks = end = counted = 0
    for _ in range(_MOST_PARTS):
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return blocks
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        # Parts of smaller blocks may share one of these.
        first, counted = max(start // BLOCK_SIZE, counted), -(-end // BLOCK_SIZE)
        blocks += counted - first
    raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
