"""A guest: calls that write, in the ordinary way and in those that fail, and what is seen of it."""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
OMIT, NOW = (1 << 30) - 2, (1 << 30) - 1
AT_EMPTY_PATH, AT_NOFOLLOW, AT_FDCWD = 0x1000, 0x100, -100
WRITE = os.O_WRONLY | os.O_CREAT


def show(name: str) -> None:
    try:
        found = os.lstat(name)
    except OSError as error:
        print(name, error.strerror)
        return
    print(name, *found[:7], found.st_mtime_ns, found.st_ctime_ns, found.st_atime_ns)


def do(act: Callable[..., Any], *arguments: Any, **where: Any) -> None:  # noqa: ANN401
    """Call, tell what came of it and what there is now; close what was opened."""
    try:
        result = act(*arguments, **where)
        if act is os.open:
            os.write(result, b"text")
            os.close(result)
    except OSError as error:
        result = error.strerror
    shown = f"{act.__name__} {arguments}".replace(os.getcwd(), "here")
    print(shown, result, time.time_ns(), flush=True)
    for name in sorted(os.listdir(".")):
        show(name)
    show(".")


Times = tuple[int, int, int, int]


def utimensat(fd: int, path: bytes | None, times: Times | None, flags: int) -> str:
    given = None if times is None else (ctypes.c_int64 * 4)(*times)
    done = LIBC.syscall(280, fd, path, given, flags)
    return "done" if done == 0 else os.strerror(ctypes.get_errno())


def opens(at: dict[str, int]) -> None:
    for flags in (
        *(os.O_WRONLY, WRITE | os.O_EXCL, WRITE | os.O_EXCL, WRITE | os.O_TRUNC, os.O_RDWR),
        *(os.O_RDONLY | os.O_CREAT, os.O_WRONLY | os.O_APPEND, os.O_RDONLY | os.O_TRUNC),
        os.O_WRONLY | os.O_NOFOLLOW,
    ):
        for name in ("a", "to-a", "dangling"):
            do(os.open, name, flags, 0o640, **at)
    for name in ("a/", "nothing/x", "a/x", ".", "..", "to-nowhere", "d/../b", "./c", ""):
        do(os.open, name, WRITE, 0o600, **at)
        do(os.open, name, WRITE | os.O_EXCL | os.O_NOFOLLOW, 0o600, **at)
    do(os.open, ".", os.O_WRONLY | os.O_TMPFILE, 0o600, **at)
    for flags in (os.O_WRONLY, WRITE | os.O_TRUNC, WRITE | os.O_EXCL, os.O_RDWR | os.O_NOFOLLOW):
        do(os.open, "/dev/null", flags)
        do(os.open, "/dev/zero", flags)
    do(os.open, "/proc/self/comm", os.O_WRONLY)
    do(os.open, os.path.abspath("absolute"), WRITE | os.O_EXCL)


def changes(at: dict[str, int]) -> None:
    fd = os.open("e", WRITE | os.O_EXCL, **at)
    os.write(fd, b"more")
    do(utimensat, fd, None, (0, OMIT, 7, 5), 0)
    do(os.fchown, fd, 0, 0)
    do(os.fchmod, fd, 0o604)
    for times in (
        (1, 2, 3, 4),
        (0, NOW, 5, 6),
        (0, OMIT, 0, OMIT),
        (0, NOW, 0, NOW),
        (9, 1, 0, NOW),
    ):
        do(utimensat, fd, None, times, 0)
        os.write(fd, b"again")
        do(utimensat, fd, b"", times, AT_EMPTY_PATH)
        do(utimensat, AT_FDCWD, b"e", times, 0)
        do(utimensat, AT_FDCWD, b"to-a", times, AT_NOFOLLOW)
        do(utimensat, AT_FDCWD, b"to-a", times, 0)
    for wrong in ((1, -1, 1, 1), (1, 10**9, 1, 1), (1, 1, 1, 10**9), (1 << 62, 0, -1 << 62, 0)):
        do(utimensat, fd, None, wrong, 0)
    do(utimensat, fd, None, None, 0)
    for name in ("e", "to-a", "nothing", "/nothing", "/usr"):
        do(os.chmod, name, 0o700)
        do(os.chown, name, 1, -1)
        do(os.lchown, name, 0, 1)
    do(os.chmod, os.path.abspath("a"), 0o640)
    do(os.chown, "e", 2, 2, **at)
    do(os.chown, "to-a", 2, 2, follow_symlinks=False, **at)
    do(os.chmod, "e", 0o111, **at)
    os.close(fd)
    do(os.fchmod, fd, 0o777)
    do(os.fchmod, 1, 0o777)
    for end in os.pipe():
        do(os.fchmod, end, 0o600)
        os.close(end)


def names(at: dict[str, int]) -> None:
    for name in ("f", "f", "g/", "nothing/d", "a/d", ".", "/", "", "to-a", "dangling"):
        do(os.mkdir, name, **at)
    for name in ("s", "s", "t/", "nothing/s", "a/s", ".", "f/s"):
        do(os.symlink, "whatever", name, **at)
    do(os.open, "f/x", WRITE)
    do(os.open, "f/y", WRITE)
    os.link("f/x", "f/z")
    os.link("e", "e-too")
    do(os.unlink, "e-too")
    for name in ("f/x", "f/x", "f/z", "f", "s", "to-a/", "nothing", "a/x", "", "."):
        do(os.unlink, name, **at)
    for name in ("f", "f/y", "g/", "nothing", ".", "..", "/", "to-a"):
        do(os.rmdir, name, **at)
    do(os.unlink, "f/y")
    do(os.rmdir, "f", **at)
    do(LIBC.unlink, ctypes.c_void_p(1))
    do(LIBC.mkdir, ctypes.c_void_p(1), 0)
    do(LIBC.unlink, b"long" * 1000)


def children() -> None:
    """Who has reaped one moves up to its clock; who has not does not. Each runs alone."""
    first, first_ends = os.pipe()
    if os.fork() == 0:
        for _ in range(50):
            time.time()
        do(os.open, "by-child", WRITE | os.O_EXCL)
        os._exit(0)
    os.close(first_ends)
    second, second_ends = os.pipe()
    if os.fork() == 0:
        os.read(first, 1)
        # It could have seen what was written there, at a later time than its own.
        do(os.open, "by-child", os.O_WRONLY | os.O_APPEND)
        os._exit(0)
    os.close(second_ends)
    os.read(second, 1)
    do(os.open, "meanwhile", WRITE | os.O_EXCL)
    os.wait()
    os.wait()
    do(os.open, "afterwards", WRITE | os.O_EXCL)
    do(os.unlink, "by-child")


if len(sys.argv) > 1:
    os.makedirs("/tmp/r")
    # What has the same path elsewhere is another thing.
    os.makedirs("/tmp/in/round0")
    os.close(os.open("/tmp/in/round0/a", WRITE))
    if os.system("mount --rbind / /tmp/r && mount -t tmpfs tmpfs /tmp/r/tmp"):
        sys.exit(1)
    os.makedirs("/tmp/r/tmp/in")
    os.chroot("/tmp/r")
    os.chdir("/tmp/in")
for round_ in range(2):
    os.mkdir(f"round{round_}")
    os.chdir(f"round{round_}")
    os.mkdir("d")
    for leads_to, name in (
        ("a", "to-a"),
        ("made-through", "dangling"),
        ("/nowhere/x", "to-nowhere"),
    ):
        os.symlink(leads_to, name)
    at = {"dir_fd": os.open(".", os.O_RDONLY | os.O_DIRECTORY)} if round_ else {}
    opens(at)
    changes(at)
    names(at)
    children()
    os.chdir("..")
os.chmod("round0", 0o755)
os.setresuid(1, 1, 1)
os.chdir("round0")
opens({})
