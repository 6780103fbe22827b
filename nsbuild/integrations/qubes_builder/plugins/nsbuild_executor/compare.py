"""What two runs left, compared byte by byte: names, kinds, permissions, links and contents."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import count

_CHUNK = 1 << 20


def differences(first: str, second: str, name: str) -> Iterator[str]:
    """Each way in which the trees `first` and `second`, called `name`, differ: in words.

    Either may be missing, or be a file. Times and owners are not compared: a file's time does not
    outlive the next tool that copies it, and the owner is whoever copied it.
    """
    one, two = _look(first), _look(second)
    if one is None or two is None:
        if one is not two:
            yield f"{name} exists after the {'first' if one else 'second'} run only"
    elif stat.S_IFMT(one.st_mode) != stat.S_IFMT(two.st_mode):
        yield f"{name} is of another kind after the second run"
    elif stat.S_ISLNK(one.st_mode):
        links = os.readlink(first), os.readlink(second)
        if links[0] != links[1]:
            yield f"{name} is a link to {links[0]!r} and {links[1]!r}"
    else:
        if one.st_mode != two.st_mode:
            modes = stat.S_IMODE(one.st_mode), stat.S_IMODE(two.st_mode)
            yield f"{name} has the modes {modes[0]:o} and {modes[1]:o}"
        if stat.S_ISDIR(one.st_mode):
            for entry in sorted({*os.listdir(first), *os.listdir(second)}):
                below = os.path.join(first, entry), os.path.join(second, entry)
                yield from differences(*below, f"{name}/{entry}")
        else:
            place = _first_difference(first, second)
            if place is not None:
                sizes = f"{one.st_size} and {two.st_size} bytes long"
                yield f"{name} differs at byte {place} ({sizes})"


def _look(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _first_difference(first: str, second: str) -> int | None:
    """The offset of the first byte that differs; where one file ends, if that comes first."""
    with open(first, "rb") as one, open(second, "rb") as two:
        for start in count(0, _CHUNK):
            left, right = one.read(_CHUNK), two.read(_CHUNK)
            if left != right:
                pairs = enumerate(zip(left, right, strict=False))
                shorter = min(len(left), len(right))
                return start + next((at for at, (a, b) in pairs if a != b), shorter)
            if not left:
                return None
    return None
