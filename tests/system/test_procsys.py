"""What /proc and /sys show of the machine is the same at every run, and not the host's.

docs/proc.md lists each file. Of the kernel's numbers and names for objects that are not files
(keys, sockets, System V IPC) the last part asks.
"""

from __future__ import annotations

import os

import pytest

from nsbuild.container.procfiles import kernel_files
from nsbuild.container.spec import Identity
from nsbuild.container.sysctls import NAMES_OF_UTS, sysctl_directory
from nsbuild.container.sysfiles import links, sys_directory
from nsbuild.determinism.proctext import NAMES
from tests.system.harness import Runner

PYTHON = "/usr/bin/python3"

EVERYTHING = """
import os, sys
# Reading kmsg takes the messages away from the host's logger; the others are processes.
LEFT_OUT = {"kmsg", "self", "thread-self", "mounts", "net"}
def show(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        data = os.read(fd, 1 << 16)
        os.close(fd)
    except OSError as error:
        data = error.strerror
    print(path, data)
for name in sorted(sys.argv[1:]):
    path = f"/proc/{name}"
    if name.isdigit() or name in LEFT_OUT:
        continue
    if not os.path.isdir(path):
        show(path)
    for top, below, files in os.walk(path):
        below.sort()
        for file in sorted(files):
            show(f"{top}/{file}")
"""

TREE = """
import os
for top, below, files in os.walk("/sys"):
    for name in below + files:
        path = f"{top}/{name}"
        if os.path.islink(path):
            print(path, "->", os.readlink(path))
        elif name in files:
            print(path, open(path).read().encode())
        elif not os.listdir(path):
            print(path + "/")
"""

MEMORY = """
import ctypes, struct
room = ctypes.create_string_buffer(128)
assert ctypes.CDLL(None).sysinfo(room) == 0
_, _, _, _, total, free, shared, buffers, swap, _ = struct.unpack_from("q3Q6Q", room)
told = dict(line.split()[:2] for line in open("/proc/meminfo"))
for name, value in zip("MemTotal MemFree Shmem Buffers SwapTotal".split(),
                       (total, free, shared, buffers, swap)):
    print(name, int(told[name + ":"]) * 1024 == value)
free_pages = open("/proc/vmstat").readline().split()
print(*free_pages, free // 4096, open("/proc/zoneinfo").read().split()[6])
"""

OWN_NUMBERS = """
import os
for link in ("self", "thread-self"):
    for name in ("", "/exe", "/cwd", "/root", "/fd", "/fd/0", "/maps", "/ns/pid"):
        for look in (os.stat, os.lstat):
            found = look(f"/proc/{link}{name}")
            print(link, name, look.__name__, found.st_dev, found.st_ino, oct(found.st_mode))
"""

COUNTERS = {
    "processor": "/proc/stat /proc/interrupts /proc/softirqs /proc/loadavg",
    "memory": "/proc/meminfo /proc/vmstat /proc/zoneinfo /proc/buddyinfo",
    "uptime": "/proc/uptime",
    "settings": "/proc/sys/kernel/ns_last_pid /proc/sys/kernel/random/uuid",
    "files": "/proc/sys/fs/dentry-state /proc/sys/fs/inode-nr /proc/sys/fs/file-nr",
}
"""Files that do not stay the same on any host for long."""


@pytest.mark.parametrize("files", COUNTERS.values(), ids=COUNTERS)
def test_counters(ns: Runner, files: str) -> None:
    ns.twice("cat", *files.split()).ok()


def test_a_listing_of_proc_is_that_of_every_kernel(ns: Runner) -> None:
    """The host's kernel has more, which is not shown; what is shown was found on every host."""
    names = ns.exec("ls", "-f", "/proc").ok().stdout.split()
    assert {name for name in names if not name.isdigit()} == {b".", b".."} | NAMES
    assert {name for name in os.listdir(b"/proc") if not name.isdigit()} - NAMES
    mounts = ns.exec("cat", "/proc/mounts").ok().stdout
    assert b" /proc/" not in mounts
    assert b" /proc " in mounts


def test_everything_in_proc_but_processes(ns: Runner) -> None:
    seen = ns.twice(PYTHON, "-c", EVERYTHING, *os.listdir("/proc")).ok().lines
    assert any(line.startswith("/proc/meminfo b'MemTotal:") for line in seen)
    shown = {line.split()[0]: line.partition(" ")[2] for line in seen}
    identity = Identity()
    for name, text in sysctl_directory(identity).items():
        if text and name != "kernel/random/uuid":
            assert shown[f"/proc/sys/{name}"] == repr(text.encode())
    for name in NAMES_OF_UTS:
        assert f"/proc/sys/{name}" in shown
    empty = {path for path, data in shown.items() if data == "b''"}
    told = {f"/proc/{name}" for name in kernel_files()}
    assert not empty & told
    assert {"/proc/kallsyms", "/proc/modules", "/proc/iomem", "/proc/locks"} & set(shown) <= empty


def test_numbers_of_the_links_of_a_process(ns: Runner) -> None:
    """Also of those that lead somewhere by themselves, which are looked at in our own /proc."""
    ns.twice(PYTHON, "-c", OWN_NUMBERS).ok()


def test_everything_in_sys(ns: Runner) -> None:
    """The host's is another tree: its kernel, if nothing else, has modules' parameters."""
    seen = set(ns.exec(PYTHON, "-c", TREE).ok().lines)
    wanted = {f"/sys/{name} -> {to}" for name, to in links().items()}
    for name, text in sys_directory().items():
        wanted.add(f"/sys/{name} {text.encode()!r}" if text else f"/sys/{name}")
    wanted.discard("/sys/class/net/")
    assert seen == wanted
    bare = ns.bare("ls", "/sys/module").ok().lines
    assert bare
    assert ns.exec("ls", "/sys/module").ok().lines == []


def test_memory_is_what_sysinfo_says(ns: Runner) -> None:
    seen = ns.exec(PYTHON, "-c", MEMORY).ok().lines
    assert {line.split()[1] for line in seen[:5]} == {"True"}
    name, pages, *others = seen[5].split()
    assert name == "nr_free_pages"
    assert set(others) == {pages}


@pytest.mark.parametrize("command", ["free", "vmstat", "uptime", "lscpu", "lslocks", "ps -ef"])
def test_tools_that_read_proc(ns: Runner, command: str) -> None:
    """procps and util-linux can parse what they find."""
    assert ns.exec(*command.split()).ok().text != "" or command == "lslocks"


def test_nothing_of_the_host_can_be_written(ns: Runner) -> None:
    script = "(echo $0 >$0) 2>/dev/null && echo written; stat -c %s $0"
    for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/mtrr"):
        seen = ns.exec("sh", "-c", script, path)
        assert "written" not in seen.text, path


def test_settings_of_the_host_s_network(ns: Runner) -> None:
    """They are the host's where its network is, and constant elsewhere."""
    setting = "/proc/sys/net/ipv4/tcp_mem"
    bare = ns.bare("cat", setting).ok().text
    assert ns.exec("cat", setting, options=["--network=host"]).ok().text == bare
    assert ns.exec("cat", setting).ok().text != bare


@pytest.mark.xfail(strict=True, reason="/proc/net is each process's own (docs/proc.md)")
def test_sockets_in_proc_net(ns: Runner) -> None:
    """Addresses in the kernel's memory, hashed, and inode numbers of sockets."""
    ns.twice("cat", "/proc/net/netlink")


# Numbers and names of other objects


NUMBERS = "sysv keys kcmp cookie unix netlink bind listen connect sendto"


@pytest.mark.parametrize("mode", NUMBERS.split())
def test_numbers_of_the_kernel(ns: Runner, mode: str) -> None:
    ns.twice(ns.guest("kernelids"), mode).ok()


NAMED = """
import socket
heard = socket.socket(socket.AF_UNIX)
heard.bind(chr(0) + "heard")
heard.listen()
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.bind(chr(0) + "told")
for passed in (1, 0):
    one, other = (socket.socket(socket.AF_UNIX, kind) for kind in (1, 2))
    for own in (one, other):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, passed)
    one.connect(chr(0) + "heard")
    other.sendto(b"x", chr(0) + "told")
    print(one.getsockname(), other.getsockname())
many = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) for _ in range(3)]
for own in many:
    own.connect((0, 0))
    print(own.getsockname())
"""


def test_names_of_who_did_not_bind(ns: Runner) -> None:
    """By connect and sendto: for who wants to know the other's credentials, and for netlink."""
    with_names, without, *ports = ns.twice(PYTHON, "-c", NAMED).ok().lines
    assert with_names.count("x00") == 2
    assert without.strip() == ""
    assert ports[0] == "(2, 0)"
    assert len(set(ports)) == 3


def test_sockets_fail_and_stay_as_the_kernel_s(ns: Runner) -> None:
    ns.twice(ns.guest("kernelids"), "sockets", differs_bare=False).ok()


PORTS = """
import os, socket
held = []
def port(kind, reuse):
    own = socket.socket(socket.AF_INET, kind)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    own.bind(("127.0.0.1", 0))
    held.append(own)
    return own.getsockname()[1]
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    ports = [port(kind, reuse) for reuse in (0, 1) for _ in range(200)]
    print(*ports)
    assert len(set(ports)) == 400
    assert all(32768 <= port <= 60999 for port in ports)
for _ in range(3):
    child = os.fork()
    if not child:
        print("child", port(socket.SOCK_STREAM, 0), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_every_port_is_given_once(ns: Runner) -> None:
    """Also with SO_REUSEADDR, with which two sockets may share a port that they ask for."""
    lines = ns.twice(PYTHON, "-c", PORTS).ok().lines
    assert len({line for line in lines if line.startswith("child")}) == 3


def test_a_port_in_use_is_followed_by_the_next(ns: Runner) -> None:
    script = """
import socket, sys
held = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:]]
print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])
"""
    first = int(ns.exec(PYTHON, "-c", script).ok().text)
    taken = [str(first), str(first + 1)]
    assert int(ns.exec(PYTHON, "-c", script, *taken).ok().text) == first + 2


@pytest.mark.xfail(strict=True, reason="sendmsg is let through, and the kernel chooses at random")
def test_ports_of_unbound_messages(ns: Runner) -> None:
    ns.twice(ns.guest("kernelids"), "sendmsg")


@pytest.mark.xfail(strict=True, reason="the kernel stamps System V IPC objects itself")
def test_times_of_ipc_objects(ns: Runner) -> None:
    ns.twice(ns.guest("kernelids"), "times")
