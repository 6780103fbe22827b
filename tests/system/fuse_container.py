"""A small container with one served file: what the tests of FuseFile run their guests in.

Real user, mount and PID namespaces, without any other part of the runtime. The test's own process
serves the file; the guest is a Python function in the container, whose value comes back as JSON.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from nsbuild.kernel.fuse import mount_fuse_file, open_fuse
from nsbuild.kernel.mount import MS_PRIVATE, MS_REC, mount
from nsbuild.kernel.namespaces import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, unshare
from nsbuild.supervisor.fusefile import Answer, FuseFile, Unmounted, random_ioctl

DEVICE = 0o100666
TEXT = 0o100444
RECORD = 16

Guest = Callable[[str], Any]


def stream(pid: int, start: int, size: int) -> bytes:
    """Bytes of `pid`'s stream: records that carry the pid and their own number."""
    first, last = start // RECORD, (start + size) // RECORD + 1
    records = b"".join(b"%07d %07d\n" % (pid, i) for i in range(first, last))
    return records[start % RECORD :][:size]


class Streams:
    """A stream for each pid that moves only when the kernel has taken the bytes."""

    def __init__(self) -> None:
        self.position: Counter[int] = Counter()
        self.requests: list[tuple[int, int, int]] = []
        self.written = bytearray()

    def read(self, pid: int, offset: int, size: int) -> tuple[bytes, Callable[[], None]]:
        self.requests.append((pid, offset, size))
        data = stream(pid, self.position[pid], size)
        return data, lambda: self.position.update({pid: size})

    def write(self, pid: int, data: bytes) -> int:
        self.written += data
        return 0

    def ioctl(self, pid: int, cmd: int, in_data: bytes) -> Answer:
        return random_ioctl(cmd)


class Text(Streams):
    """A short text with an end, as a file of /proc."""

    def read(self, pid: int, offset: int, size: int) -> tuple[bytes, Callable[[], None]]:
        return b"0123456789abcdef0123456789abcdef0123\n"[offset : offset + size], lambda: None

    def ioctl(self, pid: int, cmd: int, in_data: bytes) -> Answer:
        return errno.ENOTTY, b""


def _guest(guest: Guest, target: str, link: socket.socket) -> NoReturn:
    """Run `guest` and send home what it returns, or why it did not."""
    try:
        message = {"value": guest(target)}
    except BaseException:  # noqa: BLE001  (every failure is the test's result)
        message = {"error": traceback.format_exc()}
    link.sendall(json.dumps(message).encode())
    os._exit(0)


def _first(guest: Guest, target: str, mode: int, device: str, link: socket.socket) -> NoReturn:
    """PID 1 of the namespace: mounts, hands the descriptor over, runs the guest, reaps."""
    try:
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        fd = open_fuse(device)
        held = os.open(target, os.O_PATH)
        mount_fuse_file(fd, f"/proc/self/fd/{held}", mode)
        os.close(held)
        socket.send_fds(link, [b"m"], [fd])
        os.close(fd)
    except OSError:
        link.sendall(json.dumps({"error": traceback.format_exc()}).encode())
        os._exit(1)
    child = os.fork()
    if child == 0:
        _guest(guest, target, link)
    while os.wait()[0] != child:
        pass
    os._exit(0)


class Container:
    """One run: fork, unshare, mount, and serve the file from this process until all is over."""

    def __init__(self, target: str, mode: int = DEVICE, device: str = "/dev/fuse") -> None:
        self.target = target
        self.mode = mode
        self.device = device
        self.uid = 0
        self.die_after: int | None = None
        self.handled = 0

    def _middle(self, guest: Guest, link: socket.socket) -> NoReturn:
        """In the new user and mount namespaces, but not in the PID namespace it makes."""
        if self.uid:
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
        unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
        link.sendall(b"u")
        link.recv(1)
        child = os.fork()
        if child == 0:
            _first(guest, self.target, self.mode, self.device, link)
        os.waitpid(child, 0)
        os._exit(0)

    def _map_ids(self, pid: int) -> None:
        if self.uid:
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        line = f"0 {self.uid} {1 if self.uid else 4294967295}"
        Path(f"/proc/{pid}/gid_map").write_text(line)
        Path(f"/proc/{pid}/uid_map").write_text(line)

    def run(self, guest: Guest, content: Streams, seconds: float = 60) -> Any:  # noqa: ANN401
        """What `guest`, called with the file's path as PID 2, returns."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._middle(guest, theirs)
        theirs.close()
        try:
            assert ours.recv(1) == b"u"
            self._map_ids(pid)
            ours.sendall(b"g")
            message, fds, _, _ = socket.recv_fds(ours, 4096, 1)
            assert fds, message.decode()
            return self._serve(FuseFile(fds[0], content, self.mode, "test"), ours, seconds)
        finally:
            ours.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _answer_one(self, file: FuseFile) -> bool:
        """Handle a request; False if the file is gone, because of us or not."""
        self.handled += 1
        if self.handled == self.die_after:
            return False
        try:
            file.handle()
        except Unmounted:
            return False
        return True

    def _serve(self, file: FuseFile, link: socket.socket, seconds: float) -> Any:  # noqa: ANN401
        message = b""
        deadline = time.monotonic() + seconds
        mounted = linked = True
        with select.epoll() as poll:
            poll.register(file, select.EPOLLIN)
            poll.register(link, select.EPOLLIN)
            while mounted or linked:
                assert time.monotonic() < deadline, "the guest hangs"
                for fd, _ in poll.poll(1):
                    if fd == link.fileno():
                        part = link.recv(1 << 16)
                        message, linked = message + part, bool(part)
                        if not linked:
                            poll.unregister(link)
                    elif not self._answer_one(file):
                        mounted = False
                        poll.unregister(file)
                        os.close(fd)
        answer = json.loads(message)
        assert "error" not in answer, answer["error"]
        return answer["value"]


def run(content: Streams, target: str, guest: Guest, mode: int = DEVICE) -> Any:  # noqa: ANN401
    return Container(target, mode).run(guest, content)


def attempt(call: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401
    """The result of `call`, or the name of its errno."""
    try:
        result = call(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return result.hex() if isinstance(result, bytes) else result


def output(*command: str) -> tuple[int, str]:
    """The pid of `command`, and what it wrote as hexadecimal digits."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out, _ = child.communicate()
    assert child.returncode == 0, command
    return child.pid, out.hex()
