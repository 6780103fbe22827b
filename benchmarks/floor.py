"""The least that Python can do for a notified call: epoll, RECV, SEND, and no answer at all.

`python -m benchmarks.floor COMMAND...` runs the command under a filter that notifies clock_gettime
and getrandom, on one CPU under SCHED_FIFO as nsbuild does, and answers each with 0. What a call
costs here no supervisor written in Python can go below; the rest is ours.
"""

from __future__ import annotations

import os
import select
import sys
from fcntl import ioctl
from typing import NoReturn

from benchmarks.common import cpu
from nsbuild.container.handover import Handover
from nsbuild.kernel import bpf
from nsbuild.kernel.process import pidfd_getfd
from nsbuild.kernel.seccomp import (
    NOTIF,
    NOTIF_RESP,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    Program,
)
from nsbuild.kernel.x86_64 import NR


def _filter() -> bytes:
    """Notify the two calls and allow all others."""
    return b"".join(
        (
            bpf.instruction(bpf.BPF_LD_W_ABS, bpf.SECCOMP_DATA_NR),
            bpf.instruction(bpf.BPF_JMP_JEQ_K, NR["clock_gettime"], 1, 0),
            bpf.instruction(bpf.BPF_JMP_JEQ_K, NR["getrandom"], 0, 1),
            bpf.instruction(bpf.BPF_RET_K, bpf.SECCOMP_RET_USER_NOTIF),
            bpf.instruction(bpf.BPF_RET_K, bpf.SECCOMP_RET_ALLOW),
        )
    )


def _fifo(priority: int) -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))


def _guest(handover: Handover, command: list[str]) -> NoReturn:
    """In the child: install the filter, hand over the listener, become the command."""
    try:
        _fifo(10)
        handover.offer(Program(_filter()).install())
        os.execvp(command[0], command)
    except OSError as error:
        handover.refuse(error.errno or 1)
    finally:
        os._exit(127)


def _answer(listener: int) -> None:
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    call = bytearray(NOTIF.size)
    zeroes = bytes(NOTIF.size)
    response = bytearray(NOTIF_RESP.size)
    while epoll.poll()[0][1] & select.EPOLLIN:
        call[:] = zeroes
        ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, call)
        NOTIF_RESP.pack_into(response, 0, NOTIF.unpack_from(call)[0], 0, 0, 0)
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response)


def main(command: list[str]) -> int:
    """Run the command; returns its exit status."""
    os.sched_setaffinity(0, {cpu()})
    handover = Handover()
    child = os.fork()
    if child == 0:
        _guest(handover, command)
    _fifo(20)
    pidfd = os.pidfd_open(child)
    number = handover.await_offer(pidfd)
    if number is None:
        print(f"floor: the filter: {os.strerror(handover.failure)}", file=sys.stderr)
        return 125
    listener = pidfd_getfd(pidfd, number)
    handover.taken()
    _answer(listener)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
