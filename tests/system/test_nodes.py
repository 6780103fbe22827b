"""Device nodes made inside: the eight that builders of root file systems make, and no others."""

from __future__ import annotations

import os
import stat

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import Runner

DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "console": (5, 1),
    "ptmx": (5, 2),
}
MAKE = "; ".join(f"mknod -m 666 {name} c {a} {b}" for name, (a, b) in DEVICES.items())
LOOP = "nsbuild: loop devices do not exist inside: "


def at(place: str, script: str) -> tuple[str, ...]:
    """`script` in a fresh directory of the working directory ("here") or of /tmp ("tmpfs")."""
    where = "d" if place == "here" else "/tmp/d"
    return ("sh", "-ec", f"mkdir {where}; cd {where}; {script}")


@pytest.fixture(params=["here", "tmpfs"])
def place(request: pytest.FixtureRequest) -> str:
    """On the host's disk, where root makes real nodes, and on a file system mounted inside."""
    return str(request.param)


def test_nodes_are_shown_as_the_devices(ns: Runner, place: str) -> None:
    show = "for n in *; do test -c $n; stat -c '%n %F %t:%T %a %u:%g %s' $n; done"
    seen = ns.exec(*at(place, f"{MAKE}; {show}")).ok().lines
    expected = [
        f"{name} character special file {a:x}:{b:x} 666 0:0 0"
        for name, (a, b) in sorted(DEVICES.items())
    ]
    assert seen == expected


def test_nodes_can_be_used(ns: Runner, place: str) -> None:
    use = (
        'echo x > null; test -z "$(cat null)"; head -c3 zero | od -An -c; cat zero | head -c1 '
        "| wc -c; (echo x > full) && exit 9; : > zero; head -c5 random | wc -c; "
        "head -c5 urandom | wc -c; dd if=urandom bs=7 count=1 status=none | wc -c; "
        "cat console && exit 9; true"
    )
    seen = ns.exec(*at(place, f"{MAKE}; {use} 2>err"))
    assert seen.code == 0, seen
    assert seen.lines == ["  \\0  \\0  \\0", "1", "5", "5", "7"], seen


def test_random_nodes_repeat(ns: Runner, place: str) -> None:
    make = "mknod -m 666 urandom c 1 9; mknod random c 1 8"
    use = "od -An -tx1 -N8 urandom; od -An -tx1 -N8 random; od -An -tx1 -N4 urandom"
    first, second = (ns.exec(*at(place, f"{make}; {use}")).ok() for _ in range(2))
    assert first == second
    assert len(set(first.lines)) == 3


def test_a_random_node_that_was_there_before_repeats(root: Runner) -> None:
    cwd = root.directory()
    os.mknod(cwd / "urandom", 0o666 | stat.S_IFCHR, os.makedev(1, 9))
    reads = ("od", "-An", "-tx1", "-N8", "urandom")
    assert root.exec(*reads, cwd=cwd).ok() == root.exec(*reads, cwd=cwd).ok()
    outside = root.outside(reads, cwd=cwd)
    assert outside != root.outside(reads, cwd=cwd)


def test_a_node_can_be_changed_moved_and_removed(ns: Runner, place: str) -> None:
    change = (
        "chmod 640 zero; chown 0:0 zero; mv zero nil; ln nil other; cp -a nil copy; "
        "stat -c '%n %F %t:%T %a %h' *; head -c2 copy | wc -c; mkdir t; "
        "tar cf - nil | tar xf - -C t; stat -c '%n %F %t:%T %a' t/*; cd ..; rm -r d; "
        "test -e d && exit 9; true"
    )
    seen = ns.exec(*at(place, f"mknod zero c 1 5; {change}")).ok().lines
    device = "character special file 1:5 640"
    assert seen == [
        f"copy {device} 1",
        f"nil {device} 2",
        f"other {device} 2",
        # A renamed stand-in is no longer noticed by its name: for reading it is empty.
        seen[3],
        f"t/nil {device}",
    ]
    assert seen[3] == ("2" if place == "here" and ns.is_root else "0")


def test_times_and_umask_are_the_callers(ns: Runner, place: str) -> None:
    script = "umask 027; date +%s; mknod null c 1 3; stat -c '%a %Y' null; date +%s"
    before, shown, after = ns.exec(*at(place, script)).ok().lines
    mode, mtime = shown.split()
    assert mode == "640"
    assert int(before) < int(mtime) < int(after)


def test_real_nodes_stay(root: Runner) -> None:
    cwd = root.directory()
    root.exec("sh", "-ec", f"umask 022; {MAKE}", cwd=cwd).ok()
    for name, number in DEVICES.items():
        status = os.lstat(cwd / name)
        assert stat.S_ISCHR(status.st_mode), name
        assert stat.S_IMODE(status.st_mode) == 0o666
        assert status.st_rdev == os.makedev(*number)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("null c 1 3", "File exists"),
        ("missing/null c 1 3", "No such file or directory"),
        ("file/null c 1 3", "Not a directory"),
        ("other/ c 1 3", "No such file or directory"),
        ("mem c 1 1", "Operation not permitted"),
        ("sda b 8 0", "Operation not permitted"),
        ("null2 b 1 3", "Operation not permitted"),
        ("hw c 10 183", "Operation not permitted"),
        ("kvm c 10 232", "Operation not permitted"),
    ],
)
def test_errors_are_the_kernels(ns: Runner, arguments: str, reason: str) -> None:
    prepare = "mknod null c 1 3; : > file"
    outcome = ns.exec("sh", "-c", f"export LC_ALL=C; {prepare}; mknod {arguments}")
    assert outcome.code == 1
    assert outcome.stderr.decode().rstrip().endswith(reason), outcome


def test_openat2_opens_nodes_too(ns: Runner, place: str) -> None:
    needs_tools("python3")
    program = (
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"
        "how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0)\n"
        "for name in (b'urandom', b'console'):\n"
        "    fd = libc.syscall(437, -100, name, how, 24)\n"
        "    print(os.read(fd, 4).hex() if fd > 0 else os.strerror(ctypes.get_errno()))\n"
    )
    script = f'mknod urandom c 1 9; mknod console c 5 1; python3 -c "{program}"'
    first, second = (ns.exec(*at(place, script)).ok() for _ in range(2))
    assert first == second
    assert first.lines[1] == "No such device or address"


def test_who_is_not_root_makes_none(ns: Runner) -> None:
    needs_tools("setpriv")
    script = "chmod 777 .; setpriv --reuid=1 --regid=1 --clear-groups mknod n c 1 3"
    outcome = ns.exec("sh", "-c", script, cwd=ns.directory())
    assert outcome.code == 1
    assert b"Operation not permitted" in outcome.stderr


def test_nobody_opens_what_the_mode_forbids(ns: Runner) -> None:
    needs_tools("setpriv")
    drop = "setpriv --reuid=1 --regid=1 --clear-groups"
    script = (
        f"cd /tmp; mknod -m 600 zero c 1 5; mknod -m 604 full c 1 7; {drop} head -c1 full | wc -c; "
        f"{drop} head -c1 zero 2>/dev/null && exit 9; "
        f"{drop} sh -c ': > full' 2>/dev/null && exit 9; true"
    )
    assert ns.exec("sh", "-ec", script).ok().lines == ["1"]


def test_ptmx_leads_to_the_pts_beside_it(ns: Runner, place: str) -> None:
    needs_tools("python3")
    script = (
        "mknod -m 666 ptmx c 5 2; mkdir pts; mount -t devpts -o newinstance devpts pts; "
        'python3 -c \'import os, fcntl, struct; m = os.open("ptmx", os.O_RDWR | os.O_NOCTTY); '
        'print(struct.unpack("i", fcntl.ioctl(m, 0x80045430, bytes(4)))[0], '
        'os.listdir("pts"))\''
    )
    assert ns.exec(*at(place, script)).ok().lines == ["0 ['0', 'ptmx']"]


def test_pipes_sockets_and_files_are_the_kernels(ns: Runner, place: str) -> None:
    needs_tools("python3")
    script = (
        'mknod fifo p; python3 -c \'import os, stat; os.mknod("file"); '
        "os.mknod(\"sock\", stat.S_IFSOCK | 0o600)'; stat -c '%n %F' *"
    )
    assert ns.exec(*at(place, script)).ok().lines == [
        "fifo fifo",
        "file regular empty file",
        "sock socket",
    ]


def test_devices_are_devices_wherever_they_are_mounted(ns: Runner) -> None:
    script = (
        "mkdir /tmp/d; mount --rbind /dev /tmp/d; stat -c '%F %t:%T' /tmp/d/*random; "
        "timeout 5 stat -f -c %T /tmp/d/random; od -An -N2 -tx1 /tmp/d/urandom | wc -w"
    )
    lines = ns.exec("sh", "-ec", script).ok().lines
    assert lines[:2] == ["character special file 1:8", "character special file 1:9"]
    assert lines[3:] == ["2"]


def test_loop_devices_are_refused_once_in_words(ns: Runner) -> None:
    needs_tools("losetup", "mknod")
    script = "mknod loop0 b 7 0; losetup -f; losetup -f; mknod loop1 b 7 1"
    lines = ns.exec("sh", "-c", f"export LC_ALL=C; {script}").stderr.decode().splitlines()
    assert len([line for line in lines if line.startswith(LOOP)]) == 1
    assert "mknod: loop0: Operation not permitted" in lines


def test_the_same_nodes_make_the_same_archive(ns: Runner) -> None:
    needs_tools("tar")
    script = f"{MAKE}; ls -1f | wc -l; tar --sort=name -c . | sha256sum"
    outcomes = {ns.exec(*at(place, script)).ok() for place in ("here", "tmpfs") for _ in range(2)}
    assert len(outcomes) == 1
