"""The answers, one module a family of calls.

Each family is a class with `handlers()`: system call number -> method(call, process). A handler
reads what it needs, writes into the guest, answers, and only if the kernel took the answer moves
the clock or the stream. Errors are those of the kernel, in the kernel's order.
"""

from __future__ import annotations

from collections.abc import Callable

from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process

Handler = Callable[[Call, Process], None]


def signed32(value: int) -> int:
    """An argument as the `int` that the kernel takes it for."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value
