"""A file served over /dev/fuse, in real user, mount and PID namespaces, against the real device."""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import resource
import select
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nsbuild.kernel.fuse import MAX_READ
from nsbuild.kernel.libc import syscall
from nsbuild.kernel.mount import umount2
from nsbuild.kernel.namespaces import CLONE_NEWPID, unshare
from tests.system.account import remove
from tests.system.capabilities import needs
from tests.system.fuse_container import (
    DEVICE,
    TEXT,
    Container,
    Streams,
    Text,
    attempt,
    output,
    run,
    stream,
)

SYS_READ = 0
SYS_SETNS = 308
NOBODY = 65534

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _root() -> None:
    """The containers map all user ids and take other users' ids."""
    needs("root", os.geteuid() == 0)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every user can enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="nsbuild-fuse-"))
    path.chmod(0o755)
    yield path
    remove(path)


@pytest.fixture
def target(directory: Path) -> str:
    path = directory / "file"
    path.touch()
    return str(path)


@pytest.mark.parametrize("size", [0, 1, 16, 4095, 4096, 4097, 65535, 65536, 65537, 2 << 20])
def test_commands_read_their_own_stream_at_any_size(target: str, size: int) -> None:
    script = f"import os; fd = os.open({target!r}, 0); n = {size}\n"
    script += "while n: n -= os.write(1, os.read(fd, n))"

    def guest(path: str) -> list[tuple[int, str]]:
        return [
            output("head", "-c", str(size), path),
            output(
                "dd", f"if={path}", f"bs={max(size, 1)}", f"count={min(size, 1)}", "iflag=fullblock"
            ),
            output("dd", f"if={path}", "bs=1M", f"count={size}", "iflag=fullblock,count_bytes"),
            output(sys.executable, "-c", script),
        ]

    results = run(Streams(), target, guest)
    assert len({pid for pid, _ in results}) == 4
    for pid, data in results:
        assert bytes.fromhex(data) == stream(pid, 0, size)


def test_a_read_is_split_by_its_size_alone(target: str) -> None:
    sizes = [1, 16, 4096, MAX_READ - 1, MAX_READ, MAX_READ + 1, 3 * MAX_READ + 5]

    def guest(path: str) -> list[int]:
        fd = os.open(path, os.O_RDONLY)
        buffer = memoryview(bytearray(4 * MAX_READ + 8192))
        shifts = (0, 1, 15, 16, 100, 4095)
        return [os.readv(fd, [buffer[shift:][:size]]) for shift in shifts for size in sizes]

    content = Streams()
    assert run(content, target, guest) == sizes * 6
    requests = [size for _, _, size in content.requests]
    assert requests == requests[: len(requests) // 6] * 6
    assert max(requests) == MAX_READ


def test_readers_are_named(target: str) -> None:
    """Processes and threads by their number in the mounter's namespace, nested ones too."""

    def guest(path: str) -> list[tuple[int, str]]:
        seen: list[tuple[int, str]] = []

        def read() -> None:
            fd = os.open(path, os.O_RDONLY)
            seen.append((threading.get_native_id(), os.read(fd, 7).decode()))
            os.close(fd)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(20):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(writing, os.read(os.open(path, os.O_RDONLY), 7))
                os._exit(0)
            os.waitpid(child, 0)
            seen.append((child, os.read(reading, 7).decode()))
        unshare(CLONE_NEWPID)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            assert os.getpid() == 1
            os.write(writing, os.read(os.open(path, os.O_RDONLY), 7))
            os._exit(0)
        os.waitpid(child, 0)
        seen.append((child, os.read(reading, 7).decode()))
        return seen

    seen = run(Streams(), target, guest)
    assert len(seen) == 25
    assert len({pid for pid, _ in seen}) == 25
    assert [int(text) for _, text in seen] == [pid for pid, _ in seen]


@contextmanager
def outsider(action: Callable[[str], bytes]) -> Iterator[socket.socket]:
    """A process beside the container that waits for a byte from the guest and answers it.

    `action` is called with the pid of the process that is in the user and mount namespaces.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            assert ours.recv(1)
            parent = os.getppid()
            siblings = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            ours.sendall(action(next(pid for pid in siblings if int(pid) != os.getpid())))
        finally:
            os._exit(0)
    ours.close()
    with theirs:
        yield theirs
    os.waitpid(child, 0)


def test_a_reader_without_a_number_is_number_0(target: str) -> None:
    """A process of the user and mount namespaces that is not in the PID namespace."""

    def read(pid: str) -> bytes:
        namespaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt")]
        for fd in namespaces:
            syscall(SYS_SETNS, fd, 0)
        return os.read(os.open(target, os.O_RDONLY), 7)

    with outsider(read) as link:

        def guest(_path: str) -> str:
            link.sendall(b"g")
            return link.recv(7).decode()

        assert int(run(Streams(), target, guest)) == 0


def test_the_machine_s_root_outside_does_not_get_in(target: str) -> None:
    """Nor does it hang: the server itself may trip over the file by a path of the container."""

    def look(pid: str) -> bytes:
        path = f"/proc/{pid}/root{target}"
        return f"{attempt(os.open, path, os.O_RDONLY)} {attempt(os.stat, path)}".encode()

    with outsider(look) as link:

        def guest(_path: str) -> str:
            link.sendall(b"g")
            return link.recv(100).decode()

        assert run(Streams(), target, guest) == "EACCES EACCES"


IOCTLS = [0x80045200, 0x40045201, 0x80085202, 0x40085203, 0x5204, 0x5206, 0x5207]
# None with a size beyond the buffer of fcntl.ioctl: FUSE copies in what the number says.
IOCTLS += [0x5401, 0x5405, 0x80086601, 0x52FF, 0x40045208]


def behaviour(path: str) -> dict[str, Any]:
    """What a program notices of a random device without looking at the bytes."""
    fd = os.open(path, os.O_RDWR)
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLOUT | select.POLLPRI)
    buffers = [bytearray(10), bytearray(5000)]
    return {
        "read": [len(os.read(fd, size)) for size in (0, 1, 10, 100, 5000, 100000)],
        "readv": os.readv(fd, buffers),
        "pread": [len(os.pread(fd, 5, offset)) for offset in (0, 7, 1 << 40, 1 << 62)],
        "write": [os.write(fd, bytes(size)) for size in (0, 1, 5000, 200000)],
        "pwrite": os.pwrite(fd, b"abc", 1 << 40),
        "start": [attempt(os.lseek, fd, 0, whence) for whence in (0, 2, 3, 4)],
        "poll": [events for _, events in poll.poll(0)],
        "select": [len(ready) for ready in select.select([fd], [fd], [fd], 0)],
        "fsync": [attempt(os.fsync, fd), attempt(os.fdatasync, fd)],
        "ftruncate": [attempt(os.ftruncate, fd, size) for size in (0, 5)],
        "fallocate": attempt(os.posix_fallocate, fd, 0, 5),
        "ioctl": [attempt(fcntl.ioctl, fd, number, bytes(8)) for number in IOCTLS],
        "isatty": os.isatty(fd),
        "flock": attempt(fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
        "dup": len(os.read(os.dup(fd), 10)),
        "append": os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b"abc"),
        "truncate": os.write(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT), b"abc"),
        "nonblock": len(os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1000)),
        "exclusive": attempt(os.open, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
        "execute": [os.access(path, how) for how in (os.R_OK, os.W_OK, os.X_OK)],
        "mode": stat.S_IMODE(os.stat(path).st_mode),
        "size": [os.stat(path).st_size, os.stat(path).st_blocks, os.stat(path).st_nlink],
    }


def test_it_behaves_as_the_real_device(target: str) -> None:
    """The same calls on both, in the same user namespace, give the same answers."""

    def guest(path: str) -> list[dict[str, Any]]:
        return [behaviour(path), behaviour("/dev/urandom")]

    content = Streams()
    ours, native = run(content, target, guest)
    assert ours == native
    assert ours["ioctl"][:2] == ["0001000000000000", "EPERM"]
    assert len(content.written) == 205001 + 3 + 3 + 3


def test_its_attributes_never_change(target: str) -> None:
    def guest(path: str) -> list[list[float]]:
        seen = []

        def look() -> None:
            seen.append(list(os.stat(path))[:1] + list(os.stat(path))[3:])

        look()
        fd = os.open(path, os.O_RDWR)
        os.read(fd, 100)
        look()
        os.write(fd, bytes(100000))
        look()
        os.utime(path, (5, 5))
        os.chmod(path, 0o600)
        os.chown(path, 3, 3)
        look()
        return seen

    seen = run(Streams(), target, guest)
    assert seen == [[DEVICE, 1, 0, 0, 0, 0, 0, 0]] * 4


def test_other_users_may_read_and_write_it(target: str) -> None:
    def guest(path: str) -> list[int]:
        os.setgroups([])
        os.setresgid(1234, 1234, 1234)
        os.setresuid(1234, 1234, 1234)
        fd = os.open(path, os.O_RDWR)
        return [len(os.read(fd, 100)), os.write(fd, b"abc")]

    assert run(Streams(), target, guest) == [100, 3]


def test_a_text_has_an_end_and_is_closed_to_writers(target: str) -> None:
    def guest(path: str) -> list[Any]:
        fd = os.open(path, os.O_RDONLY)
        parts = [attempt(os.read, fd, size) for size in (10, 100, 100)]
        os.lseek(fd, 30, os.SEEK_SET)
        parts += [attempt(os.read, fd, 100), attempt(os.pread, fd, 4, 2)]
        parts += [bytes.fromhex(output("cat", path)[1]).decode()]
        modes = (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC)
        parts += [attempt(os.open, path, mode) for mode in modes]
        proc = os.open("/proc/sys/kernel/random/uuid", os.O_RDONLY)
        for number in (0x5401, 0x80045200):
            native, ours = (attempt(fcntl.ioctl, f, number, bytes(8)) for f in (proc, fd))
            assert native == ours
        return parts

    text = b"0123456789abcdef0123456789abcdef0123\n"
    expected = [text[:10], text[10:], b"", text[30:], text[2:6]]
    assert run(Text(), target, guest, TEXT) == [
        *(part.hex() for part in expected),
        text.decode(),
        *["EACCES"] * 3,
    ]


def test_killed_readers_do_no_harm(target: str) -> None:
    """SIGKILL at random moments of open, read and close; the server goes on."""

    def guest(path: str) -> list[str]:
        dice = random.Random(1)
        killed = []
        for _ in range(200):
            child = os.fork()
            if child == 0:
                while True:
                    fd = os.open(path, os.O_RDONLY)
                    os.read(fd, dice.choice((16, 300000)))
                    os.close(fd)
            time.sleep(dice.random() * 0.004)
            os.kill(child, signal.SIGKILL)
            killed.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert killed == [-signal.SIGKILL] * 200
        pid, data = output("head", "-c", "100000", path)
        return [str(pid), data]

    pid, data = run(Streams(), target, guest)
    assert bytes.fromhex(data) == stream(int(pid), 0, 100000)


def storm(path: str, size: int, seconds: float) -> dict[str, int]:
    """Raw read(2) under SIGALRM at 5 kHz with a handler without SA_RESTART."""
    signals = 0

    def count(_number: int, _frame: object) -> None:
        nonlocal signals
        signals += 1

    fd = os.open(path, os.O_RDONLY)
    buffer = (ctypes.c_char * size)()
    address = ctypes.addressof(buffer)
    result = {"reads": 0, "interrupted": 0, "short": 0, "bytes": 0, "wrong": 0}
    own = path != "/dev/urandom"
    signal.signal(signal.SIGALRM, count)
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result["reads"] += 1
        try:
            got = syscall(SYS_READ, fd, address, size)
        except InterruptedError:
            result["interrupted"] += 1
            continue
        if own and buffer.raw[:got] != stream(os.getpid(), result["bytes"], got):
            result["wrong"] += 1
        result["short"] += got < size
        result["bytes"] += got
    signal.setitimer(signal.ITIMER_REAL, 0)
    return result | {"signals": signals}


@pytest.mark.parametrize("size", [16, 4096, 65536, 300000])
def test_signals_never_interrupt_a_read(target: str, size: int) -> None:
    """No EINTR, nothing short, nothing lost. The device itself cuts long reads short."""

    def guest(path: str) -> list[dict[str, int]]:
        return [storm(path, size, 2), storm("/dev/urandom", size, 1)]

    ours, native = run(Streams(), target, guest)
    print(f"{size} bytes: ours {ours}, native {native}")
    assert ours["signals"] > 1000
    assert ours["reads"] > 50
    assert (ours["interrupted"], ours["short"], ours["wrong"]) == (0, 0, 0)


def test_a_shared_descriptor_loses_nothing(target: str) -> None:
    def guest(path: str) -> list[int]:
        fd = os.open(path, os.O_RDONLY)
        children = []
        for _ in range(8):
            child = os.fork()
            if child == 0:
                got = b"".join(os.read(fd, 1000) for _ in range(200))
                os._exit(got != stream(os.getpid(), 0, 200000))
            children.append(child)
        return [os.waitpid(child, 0)[1] for child in children]

    content = Streams()
    assert run(content, target, guest) == [0] * 8
    assert sorted(content.position.values()) == [200000] * 8


def test_what_the_kernel_can_answer_is_asked_once(target: str) -> None:
    """Of poll, close and extended attributes the kernel keeps the first ENOSYS."""

    def guest(path: str) -> int:
        fd = os.open(path, os.O_RDWR)
        poll = select.poll()
        poll.register(fd)
        for _ in range(1000):
            os.close(os.dup(fd))
            assert attempt(os.getxattr, path, "user.test") == "ENOTSUP"
            assert attempt(os.listxattr, path) == "ENOTSUP"
            assert os.access(path, os.R_OK)
        return sum(poll.poll() == [(fd, select.POLLIN | select.POLLOUT)] for _ in range(1000))

    container = Container(target)
    assert container.run(guest, Streams()) == 1000
    assert container.handled < 12


def test_a_dead_server_fails_its_readers(target: str) -> None:
    def guest(path: str) -> list[str]:
        fd = os.open(path, os.O_RDONLY)
        answers = [attempt(os.read, fd, 16) for _ in range(100)]
        return [answers[-1], attempt(os.open, path, os.O_RDONLY)]

    container = Container(target)
    container.die_after = 20
    assert container.run(guest, Streams()) == ["ENOTCONN", "ENOTCONN"]


def test_unmounting_ends_the_service(target: str) -> None:
    """The server hears of it while the container lives on."""

    def guest(path: str) -> str:
        assert len(os.read(os.open(path, os.O_RDONLY), 5)) == 5
        umount2(path, 2)
        return Path(path).read_text()

    assert run(Streams(), target, guest) == ""


@pytest.mark.rootless
def test_an_ordinary_user_may_have_it(directory: Path) -> None:
    """With the device open to all, as distributions have it, and a single id in the map."""
    device = "/dev/fuse"
    if os.stat(device).st_mode & 0o006 != 0o006:
        device = str(directory / "fuse")
        os.mknod(device, 0o666 | stat.S_IFCHR, os.stat("/dev/fuse").st_rdev)
        os.chmod(device, 0o666)
    path = directory / "file"
    path.touch()
    container = Container(str(path), device=device)
    container.uid = NOBODY

    def guest(path: str) -> tuple[int, str]:
        return output("head", "-c", "1000", path)

    pid, data = container.run(guest, Streams())
    assert bytes.fromhex(data) == stream(pid, 0, 1000)


def test_the_server_is_cheap_in_memory(target: str) -> None:
    """Two megabytes pass through without the server growing by them."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def guest(path: str) -> int:
        fd = os.open(path, os.O_RDONLY)
        return sum(len(os.read(fd, 1 << 21)) for _ in range(10))

    assert run(Streams(), target, guest) == 10 << 21
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10
