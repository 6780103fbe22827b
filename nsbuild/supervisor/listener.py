"""The listener's descriptor: receive a notification, answer it.

Performance contract: a call passes through here once, so RECV and SEND are one `fcntl.ioctl` each
on buffers made once. Never a RECV without a poll before it (older kernels block for ever once the
last target has died), and ENOENT from RECV or SEND is no error: the target was killed or a signal
took it out of the call. `Call.answer` says whether the kernel took the answer; nothing may move
before it says so, because an aborted call is made again.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Callable
from fcntl import ioctl
from typing import TYPE_CHECKING

from nsbuild.kernel.sched import set_fifo
from nsbuild.kernel.seccomp import (
    NOTIF,
    NOTIF_ADDFD,
    NOTIF_ID,
    NOTIF_RESP,
    SECCOMP_ADDFD_FLAG_SEND,
    SECCOMP_ADDFD_FLAG_SETFD,
    SECCOMP_IOCTL_NOTIF_ADDFD,
    SECCOMP_IOCTL_NOTIF_ID_VALID,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_IOCTL_NOTIF_SET_FLAGS,
    SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE,
    notif_sizes,
)

if TYPE_CHECKING:
    from nsbuild._hotcalls import Hot

_HURRY = 2
"""How far above the rest of the guest: the guard is one above."""

# ENOENT: the target left the call. EINPROGRESS: it has been answered before (see nsjail 0c95a1f).
_GONE = frozenset((errno.ENOENT, errno.EINPROGRESS))


class Call:
    """One notified system call that waits for its answer.

    `tid` is the caller's thread id in the supervisor's PID namespace, `args` the six raw arguments;
    `ip` is where the caller goes on.
    For the trace, `outcome` is what was answered and `said` what was written into the guest.
    """

    __slots__ = ("arch", "args", "id", "ip", "listener", "nr", "outcome", "said", "tid", "vpid")

    def __init__(self, listener: Listener, values: tuple[int, ...]) -> None:
        self.listener = listener
        self.id = values[0]
        self.tid = values[1]
        self.vpid = 0
        self.nr = values[3]
        self.arch = values[4]
        self.ip = values[5]
        self.args = values[6:]
        self.outcome: str | int = "gone"
        self.said: int | None = None

    def answer(self, value: int = 0) -> bool:
        """Let the call return `value`; True if the kernel took it."""
        if self.listener.send(self.id, value, 0, 0):
            self.listener.let_on(self)
            self.outcome = value
            return True
        return False

    def fail(self, number: int) -> bool:
        """Let the call fail with errno `number`; True if the kernel took it."""
        if self.listener.send(self.id, 0, -number, 0):
            self.listener.let_on(self)
            self.outcome = errno.errorcode.get(number, str(number))
            return True
        return False

    def answer_with(self, fd: int, fd_flags: int) -> bool:
        """Let the call return a duplicate of our `fd`, with O_CLOEXEC or without.

        True if the kernel took it; OSError where the caller may have no more descriptors.
        """
        if self.listener.send_fd(self, fd, fd_flags):
            self.listener.let_on(self)
            self.outcome = "descriptor"
            return True
        return False

    def replace_fd(self, fd: int, theirs: int, fd_flags: int) -> None:
        """Put a duplicate of our `fd` in the place of the caller's descriptor `theirs`.

        OSError where that is not possible; the call still waits for its answer.
        """
        self.listener.add_fd(self, SECCOMP_ADDFD_FLAG_SETFD, fd, theirs, fd_flags)

    def resume(self) -> bool:
        """Let the kernel do the call; True if it will."""
        if self.listener.send(self.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE):
            self.listener.let_on(self)
            self.outcome = "continued"
            return True
        return False

    def read_inside(self, name: str) -> bytes:
        """The caller's /proc/PID/`name`, which only the container's root may read; or nothing."""
        fd = self.listener.open_inside(self.vpid, name)
        if fd < 0:
            return b""
        with open(fd, "rb", buffering=0) as file:
            try:
                return file.readall()
            except OSError:
                return b""

    def valid(self) -> bool:
        """Whether the caller is still in the call, so that its pid still means it."""
        return self.listener.valid(self.id)


class Listener:
    """The one owner of the notification descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._received = 0
        self.hot: Hot | None = None
        self.guest_priority = 0
        """The guest's SCHED_FIFO priority, 0 without."""
        self.others: list[Listener] = []
        """Those of processes that have come in later."""
        self.let_on: Callable[[Call], None] = lambda _call: None
        """Called with each call that Python has answered, before its thread can go on."""
        self._kept_back = 0
        self._answer: tuple[int, int, int, int] | None = None
        self.open_inside: Callable[[int, str], int] = lambda _vpid, _name: -1
        size_notif, size_resp = notif_sizes()
        self._notif = bytearray(max(size_notif, NOTIF.size))
        # The kernel insists on zeroes in the buffer of a RECV (EINVAL otherwise).
        self._zeroes = bytes(len(self._notif))
        self._resp = bytearray(max(size_resp, NOTIF_RESP.size))
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._wake_synchronously()

    @property
    def received(self) -> int:
        """How many calls have been received, the others' included."""
        own = self._received if self.hot is None else self.hot.received
        return own + sum(other.received for other in self.others)

    def _wake_synchronously(self) -> None:
        """Ask for wake-ups that expect the waker to sleep at once: cheaper on one CPU (>= 6.6)."""
        try:
            ioctl(self.fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY):
                raise

    def ready(self) -> bool:
        """Whether a call waits to be received, here or by one of the others."""
        poll = select.poll()
        for listener in (self, *self.others):
            poll.register(listener.fd, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))

    def receive(self) -> Call | None:
        """The next call, or None where there is none after all. Only after a poll said so."""
        if self.hot is not None:
            values = self.hot.receive()
            return None if values is None else Call(self, values)
        buffer = self._notif
        buffer[:] = self._zeroes
        try:
            ioctl(self.fd, SECCOMP_IOCTL_NOTIF_RECV, buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                return None
            raise
        self._received += 1
        return Call(self, NOTIF.unpack_from(buffer))

    def receive_all(self) -> list[Call]:
        """All calls that wait."""
        calls = []
        while self._poll.poll(0)[:1] == [(self.fd, select.POLLIN)]:
            call = self.receive()
            if call is not None:
                calls.append(call)
        return calls

    def send(self, call_id: int, value: int, error: int, flags: int) -> bool:
        """Answer; False if the target is no longer there to take it."""
        if call_id == self._kept_back:
            if not self.valid(call_id):
                return False
            self._answer = call_id, value, error, flags
            return True
        if self.hot is not None:
            return self.hot.send(call_id, value, error, flags)
        NOTIF_RESP.pack_into(self._resp, 0, call_id, value, error, flags)
        while True:
            try:
                ioctl(self.fd, SECCOMP_IOCTL_NOTIF_SEND, self._resp)
            except InterruptedError:
                continue
            except OSError as problem:
                if problem.errno in _GONE:
                    return False
                raise
            return True

    def keep_back(self, call: Call) -> None:
        """Send the answer to `call`, once it is given, only with `let_go`.

        Signals that are sent in between find the caller in this call, never on its way into the
        next one, which they would make fail with EINTR.
        """
        self._kept_back = call.id

    def let_go(self) -> None:
        """Send what `keep_back` has kept; the caller may have been killed since."""
        self._kept_back = 0
        if self._answer is not None:
            answer, self._answer = self._answer, None
            self.send(*answer)

    def send_fd(self, call: Call, fd: int, fd_flags: int) -> bool:
        """Answer with a descriptor (Linux 5.14)."""
        return self.add_fd(call, SECCOMP_ADDFD_FLAG_SEND, fd, 0, fd_flags)

    def add_fd(self, call: Call, flags: int, fd: int, theirs: int, fd_flags: int) -> bool:
        """SECCOMP_IOCTL_NOTIF_ADDFD; False if the target is gone.

        The kernel lets us wait until the target has run and taken the descriptor.
        """
        request = NOTIF_ADDFD.pack(call.id, flags, fd, theirs, fd_flags)
        self._hurry(call.tid, _HURRY)
        try:
            ioctl(self.fd, SECCOMP_IOCTL_NOTIF_ADDFD, request)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
        finally:
            self._hurry(call.tid, 0)
        return True

    def _hurry(self, tid: int, more: int) -> None:
        """Put `tid` above the others of the guest, who might keep the CPU for ever, or back."""
        if self.guest_priority:
            # An unprivileged guest may have lowered its own limit; then it has to wait its turn.
            set_fifo(tid, self.guest_priority + more)

    def valid(self, call_id: int) -> bool:
        """SECCOMP_IOCTL_NOTIF_ID_VALID."""
        try:
            ioctl(self.fd, SECCOMP_IOCTL_NOTIF_ID_VALID, NOTIF_ID.pack(call_id))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True
