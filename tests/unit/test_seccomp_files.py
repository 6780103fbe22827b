"""What the default profile asks about links and about the disk behind a file."""

from __future__ import annotations

import errno

import pytest

from nsbuild import seccomp
from tests.unit.filters import ALLOW, NOTIFY, failing, number, run

ENOTTY, EOPNOTSUPP = failing(errno.ENOTTY), failing(errno.EOPNOTSUPP)

EXPECTED = [
    *(("readlink", (0, 0, size), NOTIFY) for size in (0, 64, 1022, 1024, 4096)),
    # The size is an int: the kernel does not look at the upper half.
    *(("readlink", (0, 0, size), ALLOW) for size in (1023, 1 << 32 | 1023)),
    ("readlinkat", (1023, 1023, 1023, 4096), NOTIFY),
    ("readlinkat", (0, 0, 0, 1023), ALLOW),
    *(("ioctl", (0, request), ENOTTY) for request in (0x80087601, 0x80086603, 0x80111500)),
    *(("ioctl", (0, request), ENOTTY) for request in (0x80811501, 0x81009431)),
    ("ioctl", (0, 1 << 32 | 0xC020660B), EOPNOTSUPP),
    ("ioctl", (0, 0x80086601), ALLOW),
]


@pytest.mark.parametrize(("name", "args", "action"), EXPECTED)
def test_default_profile(name: str, args: tuple[int, ...], action: int) -> None:
    assert run(seccomp.compiled("default"), number(name), args).action == action
