"""FuseFile against a socket that keeps message boundaries, as /dev/fuse does."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsbuild.kernel import fuse
from nsbuild.supervisor.fusefile import Answer, FuseFile, Unmounted, random_ioctl

HEADER = Path("/usr/include/linux/fuse.h")
PID = 4711
UNIQUE = 1 << 60
MODE = stat.S_IFREG | 0o666


class Counting:
    """Serves b"x", and remembers what it was asked and what was committed."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.committed = 0
        self.number = 0

    def _commit(self) -> None:
        self.committed += 1

    def read(self, pid: int, offset: int, size: int) -> tuple[bytes, Callable[[], None]]:
        self.asked.append((pid, offset, size))
        return b"x" * size, self._commit

    def write(self, pid: int, data: bytes) -> int:
        self.asked.append((pid, data))
        return self.number

    def ioctl(self, pid: int, cmd: int, in_data: bytes) -> Answer:
        self.asked.append((pid, cmd, in_data))
        return self.number, b"0123456789"


class Kernel:
    """The other side: sends requests, checks and returns the replies."""

    def __init__(self, mode: int = MODE) -> None:
        self.socket, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.setblocking(False)
        served.setblocking(False)
        self.content = Counting()
        self._served = served
        self.file = FuseFile(served.fileno(), self.content, mode, "test")

    def close(self) -> None:
        self.socket.close()
        self._served.close()

    def send(self, opcode: int, body: bytes) -> None:
        size = fuse.FUSE_IN_HEADER.size + len(body)
        header = fuse.FUSE_IN_HEADER.pack(size, opcode, UNIQUE, 1, 1000, 1000, PID, 0, 0)
        self.socket.send(header + body)

    def reply(self) -> tuple[int, bytes] | None:
        """The errno and body of the reply, or None if there is none."""
        try:
            message = self.socket.recv(1 << 18)
        except BlockingIOError:
            return None
        size, error, unique = fuse.FUSE_OUT_HEADER.unpack_from(message)
        assert (size, unique) == (len(message), UNIQUE)
        assert -512 < error <= 0
        return -error, message[fuse.FUSE_OUT_HEADER.size :]

    def ask(self, opcode: int, body: bytes = b"") -> tuple[int, bytes] | None:
        self.send(opcode, body)
        self.file.handle()
        return self.reply()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.close()


def read_in(offset: int, size: int) -> bytes:
    """struct fuse_read_in, written out independently of READ_REQUEST."""
    return struct.pack("=QQIIQII", 7, offset, size, 0, 9, 0, 0)


def test_constants_are_the_header_s() -> None:
    text = HEADER.read_text()
    values = dict(re.findall(r"^\s*(?:#define\s+)?(F\w+)[\s=]+(\d+|\(1 << \d+\))[,\s]", text, re.M))
    ours = {name: value for name, value in vars(fuse).items() if re.match(r"F\w+$", name)}
    numbers = {name: value for name, value in ours.items() if isinstance(value, int)}
    assert len(numbers) > 25

    def number(expression: str) -> int:
        first, *shift = map(int, re.findall(r"\d+", expression))
        return first << shift[0] if shift else first

    assert {name: number(values[name]) for name in numbers} == numbers


def test_structs_have_the_header_s_sizes() -> None:
    sizes = {
        fuse.FUSE_IN_HEADER: 40,
        fuse.FUSE_OUT_HEADER: 16,
        fuse.FUSE_INIT_OUT: 64,
        fuse.FUSE_ATTR_OUT: 104,
        fuse.FUSE_OPEN_IN: 8,
        fuse.FUSE_OPEN_OUT: 16,
        fuse.FUSE_WRITE_IN: 40,
        fuse.FUSE_WRITE_OUT: 8,
        fuse.FUSE_STATFS_OUT: 80,
        fuse.FUSE_LSEEK_OUT: 8,
        fuse.FUSE_IOCTL_IN: 32,
        fuse.FUSE_IOCTL_OUT: 16,
    }
    assert [layout.size for layout in sizes] == list(sizes.values())


def test_init_agrees_on_our_version_and_known_flags(kernel: Kernel) -> None:
    answer = kernel.ask(fuse.FUSE_INIT, struct.pack("=4I48x", 7, 45, 131072, 0xFFFFFFFF))
    assert answer is not None
    number, body = answer
    major, minor, readahead, flags, _, _, write, _, pages, _ = fuse.FUSE_INIT_OUT.unpack(body)
    assert (number, major, minor, readahead) == (0, 7, 31, 0)
    assert flags == fuse.FUSE_MAX_PAGES | fuse.FUSE_BIG_WRITES | fuse.FUSE_ATOMIC_O_TRUNC
    assert pages * 4096 >= fuse.MAX_READ + 4095
    assert write == fuse.MAX_READ


def test_init_asks_for_nothing_that_was_not_offered(kernel: Kernel) -> None:
    answer = kernel.ask(fuse.FUSE_INIT, struct.pack("=4I", 7, 31, 0, fuse.FUSE_BIG_WRITES))
    assert answer is not None
    assert fuse.FUSE_INIT_OUT.unpack(answer[1])[3] == fuse.FUSE_BIG_WRITES


@pytest.mark.parametrize("version", [(6, 99), (8, 0), (7, 30)])
def test_init_refuses_other_protocols(kernel: Kernel, version: tuple[int, int]) -> None:
    assert kernel.ask(fuse.FUSE_INIT, struct.pack("=4I", *version, 0, 0)) == (errno.EPROTO, b"")


@given(offset=st.integers(0, (1 << 63) - 1), size=st.integers(0, fuse.MAX_READ))
@settings(max_examples=50)
def test_read_passes_the_reader_on_and_commits(offset: int, size: int) -> None:
    kernel = Kernel()
    try:
        assert kernel.ask(fuse.FUSE_READ, read_in(offset, size)) == (0, b"x" * size)
        assert kernel.content.asked == [(PID, offset, size)]
        assert kernel.content.committed == 1
    finally:
        kernel.close()


def test_read_is_not_committed_when_the_request_has_gone(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.send(fuse.FUSE_READ, read_in(0, 16))

    def write(_fd: int, _data: bytes) -> int:
        assert kernel.content.committed == 0
        raise OSError(errno.ENOENT, "gone")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        kernel.file.handle()
    assert len(kernel.content.asked) == 1
    assert kernel.content.committed == 0
    assert kernel.ask(fuse.FUSE_READ, read_in(0, 16)) == (0, b"x" * 16)
    assert kernel.content.committed == 1


def test_other_failures_of_a_reply_are_not_hidden(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.send(fuse.FUSE_READ, read_in(0, 16))

    def write(_fd: int, _data: bytes) -> int:
        raise OSError(errno.EINVAL, "bad reply")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="bad reply"):
        kernel.file.handle()
    assert kernel.content.committed == 0


def test_no_request_is_no_error(kernel: Kernel) -> None:
    kernel.file.handle()
    assert kernel.reply() is None


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EINTR, errno.EAGAIN])
def test_normal_failures_of_a_read_are_no_error(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def readv(_fd: int, _buffers: object) -> int:
        raise OSError(number, "normal")

    monkeypatch.setattr(os, "readv", readv)
    kernel.file.handle()
    assert kernel.reply() is None


def test_enodev_is_the_end(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def readv(_fd: int, _buffers: object) -> int:
        raise OSError(errno.ENODEV, "unmounted")

    monkeypatch.setattr(os, "readv", readv)
    with pytest.raises(Unmounted, match="test"):
        kernel.file.handle()


def test_attributes_are_constant(kernel: Kernel) -> None:
    first = kernel.ask(fuse.FUSE_GETATTR, bytes(16))
    kernel.ask(fuse.FUSE_WRITE, struct.pack("=QQIIQII", 0, 0, 3, 0, 0, 0, 0) + b"abc")
    times = struct.pack("=II80x", 0x3F & ~fuse.FATTR_SIZE, 0)
    assert first == kernel.ask(fuse.FUSE_GETATTR, bytes(16))
    assert first == kernel.ask(fuse.FUSE_SETATTR, times)
    assert first is not None
    number, body = first
    valid, _, *attributes = fuse.FUSE_ATTR_OUT.unpack(body)
    assert number == 0
    assert valid > 86400 * 365 * 100
    assert attributes == [1, 0, 0, *[0] * 6, MODE, 1, 0, 0, 0, 4096, 0]


def test_truncating_is_for_open_alone(kernel: Kernel) -> None:
    size = struct.pack("=II80x", fuse.FATTR_SIZE, 0)
    assert kernel.ask(fuse.FUSE_SETATTR, size) == (errno.EINVAL, b"")
    answer = kernel.ask(fuse.FUSE_OPEN, struct.pack("=II", os.O_WRONLY | os.O_TRUNC, 0))
    assert answer == (0, fuse.FUSE_OPEN_OUT.pack(0, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH))


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC])
def test_a_file_without_write_permission_opens_for_reading_only(flags: int) -> None:
    kernel = Kernel(stat.S_IFREG | 0o444)
    try:
        assert kernel.ask(fuse.FUSE_OPEN, struct.pack("=II", flags, 0)) == (errno.EACCES, b"")
        assert kernel.ask(fuse.FUSE_OPEN, struct.pack("=II", os.O_RDONLY, 0)) == (
            0,
            fuse.FUSE_OPEN_OUT.pack(0, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH),
        )
    finally:
        kernel.close()


@given(data=st.binary(max_size=300))
@settings(max_examples=30)
def test_write_takes_all_of_it(data: bytes) -> None:
    kernel = Kernel()
    try:
        head = struct.pack("=QQIIQII", 0, 5, len(data), 0, 0, 0, 0)
        answer = kernel.ask(fuse.FUSE_WRITE, head + data)
        assert answer == (0, fuse.FUSE_WRITE_OUT.pack(len(data)))
        assert kernel.content.asked == [(PID, data)]
    finally:
        kernel.close()


def test_the_largest_write_fits_the_buffer(kernel: Kernel) -> None:
    kernel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    data = os.urandom(fuse.MAX_READ)
    head = struct.pack("=QQIIQII", 0, 0, len(data), 0, 0, 0, 0)
    answer = kernel.ask(fuse.FUSE_WRITE, head + data)
    assert answer == (0, fuse.FUSE_WRITE_OUT.pack(len(data)))
    assert kernel.content.asked == [(PID, data)]


def test_a_refused_write_or_ioctl_carries_its_errno(kernel: Kernel) -> None:
    kernel.content.number = errno.EPERM
    head = struct.pack("=QQIIQII", 0, 0, 3, 0, 0, 0, 0)
    assert kernel.ask(fuse.FUSE_WRITE, head + b"abc") == (errno.EPERM, b"")
    ioctl = fuse.FUSE_IOCTL_IN.pack(0, 0, fuse.RNDADDENTROPY, 0, 0, 0)
    assert kernel.ask(fuse.FUSE_IOCTL, ioctl) == (errno.EPERM, b"")


@pytest.mark.parametrize("room", [0, 4, 10, 100])
def test_ioctl_output_stays_within_its_size(kernel: Kernel, room: int) -> None:
    request = fuse.FUSE_IOCTL_IN.pack(0, 0, 0x1234, 0, 3, room) + b"abc"
    expected = fuse.FUSE_IOCTL_OUT.pack(0, 0, 0, 0) + b"0123456789"[:room]
    assert kernel.ask(fuse.FUSE_IOCTL, request) == (0, expected)
    assert kernel.content.asked == [(PID, 0x1234, b"abc")]


def test_random_ioctls_are_those_of_the_device() -> None:
    assert random_ioctl(fuse.RNDGETENTCNT) == (0, struct.pack("=i", 256))
    for cmd in (fuse.RNDADDTOENTCNT, fuse.RNDADDENTROPY, fuse.RNDZAPENTCNT):
        assert random_ioctl(cmd) == (errno.EPERM, b"")
    for cmd in (fuse.RNDCLEARPOOL, fuse.RNDRESEEDCRNG):
        assert random_ioctl(cmd) == (errno.EPERM, b"")
    assert random_ioctl(0x5401) == (errno.EINVAL, b"")


NO_REPLY = {fuse.FUSE_FORGET, fuse.FUSE_BATCH_FORGET, fuse.FUSE_NOTIFY_REPLY}


@pytest.mark.parametrize("opcode", sorted(NO_REPLY))
def test_what_wants_no_reply_gets_none(kernel: Kernel, opcode: int) -> None:
    assert kernel.ask(opcode, bytes(16)) is None


@pytest.mark.parametrize(
    "opcode",
    [fuse.FUSE_FLUSH, fuse.FUSE_GETXATTR, fuse.FUSE_POLL, fuse.FUSE_INTERRUPT, 52, 4096, 999999],
)
def test_what_we_leave_to_the_kernel_is_enosys(kernel: Kernel, opcode: int) -> None:
    assert kernel.ask(opcode, bytes(64)) == (errno.ENOSYS, b"")


@given(opcode=st.integers(0, 60), body=st.binary(min_size=64, max_size=200))
@settings(max_examples=300)
def test_any_request_gets_one_reply_and_the_next_one_too(opcode: int, body: bytes) -> None:
    kernel = Kernel()
    # A size beyond MAX_READ is what the mount option rules out.
    body = body[:16] + struct.pack("=I", int.from_bytes(body[16:18], "little")) + body[20:]
    try:
        assert (kernel.ask(opcode, body) is None) == (opcode in NO_REPLY)
        assert kernel.reply() is None
        assert kernel.ask(fuse.FUSE_READ, read_in(0, 5)) == (0, b"xxxxx")
    finally:
        kernel.close()
