"""The least that Python can do for a notified call: epoll, RECV, SEND, and no answer at all.

`python -m benchmarks.floor COMMAND...` runs the command under a filter that notifies clock_gettime
and getrandom, and answers each with 0. CPU, priorities and listener are set up by nsbuild's own
code, so that what differs is the answering alone. What a call costs here no supervisor written in
Python can go below; the rest is ours.
"""

from __future__ import annotations

import os
import select
import sys
from fcntl import ioctl
from typing import NoReturn

from benchmarks.common import cpu
from nsbuild.container.cpu import become_guest, supervise_on
from nsbuild.container.handover import Handover
from nsbuild.container.spec import SchedulingSpec
from nsbuild.errors import NsbuildError
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
from nsbuild.supervisor.listener import Listener


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


def _guest(handover: Handover, command: list[str]) -> NoReturn:
    """In the child: install the filter, hand over the listener, become the command."""
    try:
        become_guest(True)
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
    """Run the command; returns its exit status. Raises NsbuildError."""
    supervise_on(cpu(), SchedulingSpec(policy="fifo"))
    handover = Handover()
    child = os.fork()
    if child == 0:
        _guest(handover, command)
    pidfd = os.pidfd_open(child)
    number = handover.await_offer(pidfd)
    if number is None:
        raise NsbuildError(f"cannot install the filter: {os.strerror(handover.failure)}")
    listener = Listener(pidfd_getfd(pidfd, number))
    handover.taken()
    _answer(listener.fd)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except NsbuildError as error:
        sys.exit(f"floor: {error}")
