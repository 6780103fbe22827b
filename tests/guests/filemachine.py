"""Takes steps on files, and prints what it sees after each.

Reads from stdin a JSON list of [directory, steps]; each goes through in a process of its own. A
step is [name, arguments...], one function `do_NAME` each. One line of JSON says what came of it:
[process, name, result], where the result is the errno's name or what was seen. A child in the
background writes its lines to a pipe, which its parent empties when it waits.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import sys
import time
from typing import Any

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
STATX_ALL = 0xFFF
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
RENAME_EXCHANGE = 2
MODES = {
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "r+": os.O_RDWR,
}

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.statx.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
Result = Any


class StatxTime(ctypes.Structure):
    """struct statx_timestamp."""

    _fields_ = (("sec", ctypes.c_int64), ("nsec", ctypes.c_uint32), ("pad", ctypes.c_int32))

    @property
    def ns(self) -> int:
        return int(self.sec) * 1_000_000_000 + int(self.nsec)


class Statx(ctypes.Structure):
    """struct statx, as far as stx_dev_minor."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("mask", "blksize")),
        ("attributes", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("nlink", "uid", "gid")),
        *((name, ctypes.c_uint16) for name in ("mode", "pad")),
        *((name, ctypes.c_uint64) for name in ("ino", "size", "blocks", "attributes_mask")),
        *((name, StatxTime) for name in ("atime", "btime", "ctime", "mtime")),
        *((name, ctypes.c_uint32) for name in ("rdev_major", "rdev_minor", "major", "minor")),
        ("rest", ctypes.c_uint64 * 14),
    )


FIELDS = ["ino", "mode", "nlink", "uid", "gid", "size", "blocks", "blksize"]
TIMES = ["atime", "mtime", "ctime"]


def shown(found: os.stat_result) -> dict[str, int]:
    seen = {name: int(getattr(found, f"st_{name}")) for name in FIELDS}
    return seen | {
        "dev": found.st_dev,
        **{name: int(getattr(found, f"st_{name}_ns")) for name in TIMES},
    }


def statx(fd: int, path: str, flags: int) -> dict[str, int]:
    buffer = Statx()
    check(LIBC.statx(fd, path.encode(), flags, STATX_ALL, ctypes.byref(buffer)))
    seen = {name: int(getattr(buffer, name)) for name in FIELDS}
    return seen | {
        "dev": os.makedev(buffer.major, buffer.minor),
        **{name: getattr(buffer, name).ns for name in (*TIMES, "btime")},
    }


def check(result: int) -> None:
    """Raise what a call through ctypes has failed with."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def timespecs(times: list[int | str] | None) -> ctypes.Array[ctypes.c_long] | None:
    """What utimensat(2) takes for (atime, mtime), each in nanoseconds, "now" or "omit"."""
    if times is None:
        return None
    words: list[int] = []
    for value in times:
        if isinstance(value, str):
            words += [0, UTIME_NOW if value == "now" else UTIME_OMIT]
        else:
            words += divmod(value, 1_000_000_000)
    return (ctypes.c_long * 4)(*words)


class Machine:
    """One process and what it keeps: open files, children in the background."""

    def __init__(self, name: str, out: int, slots: dict[int, int]) -> None:
        self.name = name
        self.out = out
        self.slots = slots
        self.children = 0
        self.background: list[tuple[int, int]] = []

    def run(self, steps: list[Any]) -> None:
        for name, *arguments in steps:
            try:
                result = getattr(self, "do_" + name)(*arguments)
            except OSError as error:
                result = errno.errorcode[error.errno or 0]
            self.say(name, result)
        self.do_wait()

    def say(self, name: str, result: Result) -> None:
        line = json.dumps([self.name, name, result]) + "\n"
        self.write(line.encode())

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.out, data) :]

    # Contents.

    def do_write(self, path: str, mode: str, size: int) -> None:
        fd = os.open(path, MODES[mode], 0o644)
        try:
            if size:
                os.write(fd, b"x" * size)
        finally:
            os.close(fd)

    def do_open(self, path: str) -> None:
        os.close(os.open(path, os.O_RDWR))

    def do_keep(self, slot: int, path: str) -> None:
        self.do_drop(slot)
        self.slots[slot] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def do_drop(self, slot: int) -> None:
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def do_fdwrite(self, slot: int, size: int) -> None:
        os.write(self.slots.get(slot, -1), b"y" * size)

    def do_ftruncate(self, slot: int, size: int) -> None:
        os.ftruncate(self.slots.get(slot, -1), size)

    def do_truncate(self, path: str, size: int) -> None:
        os.truncate(path, size)

    def do_copy(self, old: str, new: str, by_kernel: bool) -> None:
        source = os.open(old, os.O_RDONLY)
        try:
            target = os.open(new, MODES["w"], 0o644)
            try:
                # From one layer of an overlay to another it is EXDEV; cp goes on as we do.
                with contextlib.suppress(OSError):
                    while by_kernel and os.copy_file_range(source, target, 1 << 20):
                        pass
                while data := os.read(source, 1 << 20):
                    os.write(target, data)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def do_read(self, path: str) -> int:
        fd = os.open(path, os.O_RDONLY)
        try:
            return len(os.read(fd, 1 << 20))
        finally:
            os.close(fd)

    def do_tmpfile(self, directory: str, path: str, size: int) -> None:
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o644)
        try:
            if size:
                os.write(fd, b"z" * size)
            # With a dirfd, which an absolute path does not use, Python takes linkat(2).
            os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
        finally:
            os.close(fd)

    # Names.

    def do_rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def do_exchange(self, old: str, new: str) -> None:
        check(LIBC.renameat2(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), RENAME_EXCHANGE))

    def do_link(self, old: str, new: str) -> None:
        os.link(old, new, follow_symlinks=False)

    def do_symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def do_unlink(self, path: str) -> None:
        os.unlink(path)

    def do_mkdir(self, path: str) -> None:
        os.mkdir(path, 0o755)

    def do_rmdir(self, path: str) -> None:
        os.rmdir(path)

    def do_chdir(self, path: str) -> None:
        os.chdir(path)

    # Inodes.

    def do_chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def do_utime(self, path: str, follow: bool, times: list[int | str] | None) -> None:
        flags = 0 if follow else AT_SYMLINK_NOFOLLOW
        check(LIBC.utimensat(AT_FDCWD, path.encode(), timespecs(times), flags))

    def do_futime(self, slot: int, times: list[int | str] | None) -> None:
        check(LIBC.futimens(self.slots.get(slot, -1), timespecs(times)))

    # Looks.

    def do_date(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_REALTIME)

    def do_stat(self, path: str) -> dict[str, int]:
        return shown(os.stat(path))

    def do_lstat(self, path: str) -> dict[str, int]:
        return shown(os.lstat(path))

    def do_statx(self, path: str) -> dict[str, int]:
        return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW)

    def do_fstat(self, slot: int) -> dict[str, int]:
        return shown(os.fstat(self.slots.get(slot, -1)))

    def do_fstatx(self, slot: int) -> dict[str, int]:
        return statx(self.slots.get(slot, -1), "", AT_EMPTY_PATH)

    def do_list(self, path: str) -> list[list[Any]]:
        with os.scandir(path) as entries:
            return [[entry.name, entry.inode(), kind_of(entry)] for entry in entries]

    # Processes.

    def do_child(self, steps: list[Any]) -> None:
        name = self.next_name()
        pid = os.fork()
        if not pid:
            Machine(name, self.out, self.slots).end(steps)
        os.waitpid(pid, 0)

    def do_background(self, directory: str, steps: list[Any]) -> None:
        """A child that works in `directory`, a new one, for itself alone."""
        name = self.next_name()
        os.mkdir(directory, 0o755)
        ours, theirs = os.pipe()
        pid = os.fork()
        if not pid:
            os.chdir(directory)
            Machine(name, theirs, {}).end(steps)
        os.close(theirs)
        self.background.append((pid, ours))

    def do_wait(self) -> None:
        for pid, pipe in self.background:
            while data := os.read(pipe, 1 << 16):
                self.write(data)
            os.close(pipe)
            os.waitpid(pid, 0)
        self.background.clear()

    def next_name(self) -> str:
        self.children += 1
        return f"{self.name}.{self.children}"

    def end(self, steps: list[Any]) -> None:
        """Be a child."""
        try:
            self.run(steps)
        finally:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(0)


def kind_of(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "l"
    return "d" if entry.is_dir(follow_symlinks=False) else "f"


def main() -> None:
    os.umask(0o022)
    for number, (directory, steps) in enumerate(json.loads(sys.stdin.read())):
        pid = os.fork()
        if not pid:
            os.chdir(directory)
            Machine(str(number), 1, {}).end(steps)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
