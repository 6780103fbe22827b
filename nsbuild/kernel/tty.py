"""Pseudo-terminal ioctls that termios lacks; see ioctl_tty(2)."""

from __future__ import annotations

import fcntl
import os

TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441


def open_pty(ptmx: str) -> tuple[int, int]:
    """Master and slave of a new pseudo-terminal of the devpts that `ptmx` belongs to.

    TIOCGPTPEER opens the slave without a path, which another mount could have replaced.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = os.open(ptmx, flags)
    fcntl.ioctl(master, TIOCSPTLCK, bytes(4))
    return master, fcntl.ioctl(master, TIOCGPTPEER, flags)
