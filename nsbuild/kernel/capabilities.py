"""The capability bounding set: what no program that is executed from here on can have."""

from __future__ import annotations

import errno

from .libc import c_int, c_ulong, check, libc

PR_CAPBSET_DROP = 24
_MOST = 64
"""No kernel knows as many capabilities."""

_prctl = libc.prctl
_prctl.argtypes = [c_int, c_ulong, c_ulong, c_ulong, c_ulong]
_prctl.restype = c_int


def keep_bounding(wanted: frozenset[int]) -> None:
    """Drop every capability but the numbers `wanted` from the bounding set (prctl(2))."""
    for number in range(_MOST):
        if number not in wanted:
            try:
                check(_prctl(PR_CAPBSET_DROP, number, 0, 0, 0))
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # Beyond the last that this kernel has.
                return
