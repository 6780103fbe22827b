"""The extension for hot calls changes no answer, and answers most of the calls that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsbuild.supervisor import extension
from tests.system.capabilities import needs
from tests.system.harness import Runner
from tests.system.test_files import SCRIPTS

WITHOUT = {extension.SWITCH: "0"}

SIMILAR = (
    *("write", "rename", "link", "chmod", "touch-explicit", "open-file", "truncate", "reused"),
    *("children", "find", "make", "proc", "proc-self", "stdin", "create-order", "exchange"),
    "proc-as-compilers-open",
)


@pytest.fixture(autouse=True, scope="module")
def _extension() -> None:
    needs("a C compiler and Python's headers", extension.available())


@pytest.mark.parametrize("name", SIMILAR)
def test_answers_are_the_same_without_it(ns: Runner, name: str) -> None:
    cwd = ns.directory()
    script = f"mkdir x; cd x; {SCRIPTS[name]}"
    seen = ns.exec("sh", "-c", script, cwd=cwd).ok()
    again = ns.exec("sh", "-c", f"rm -r x; {script}", cwd=cwd, env=WITHOUT).ok()
    first = ns.exec("sh", "-c", f"rm -r x; {script}", cwd=cwd).ok()
    assert again == first
    assert len(seen.stdout) > 0


LOOKS = """
import os, time
for name in ("/usr/bin/env", "/nothing", "nothing", ".", "/proc/self", "/dev/null"):
    for _ in range(3):
        try:
            print(os.stat(name), os.lstat(name))
        except OSError as error:
            print(error)
os.symlink("/nowhere", "link")
link = os.path.abspath("link")
for name in ("/nothing", "/usr/bin/env/x", "/etc/passwd/", "nothing", "/nothing/", link):
    try:
        print(os.statvfs(name))
    except OSError as error:
        print(error.strerror)
print(os.stat("/proc/self/fd/1").st_mode, os.path.exists("/etc/mtab"), time.time())
for call in (lambda: os.chmod("a", 0o600), lambda: os.utime("a"), lambda: os.truncate("a", 1)):
    with open("a", "w") as file:
        file.write("a")
    before = [os.stat("a") for _ in range(3)]
    call()
    after = [os.stat("a") for _ in range(3)]
    print(before, after, time.time())
    assert before[0] == before[2] and after[0] == after[2] and before[0] != after[0]
"""


def test_what_changes_is_seen_at_once(ns: Runner) -> None:
    """A look that was answered before is not answered from memory after a change."""
    runs = [
        ns.exec("/usr/bin/python3", "-c", LOOKS, env=env).ok() for env in ({}, WITHOUT, {}, WITHOUT)
    ]
    assert runs[0] == runs[1] == runs[2] == runs[3]


def test_a_thread_that_leaves_the_root_is_not_answered_from_it(ns: Runner) -> None:
    script = (
        "import os; print(os.path.exists('/usr')); os.mkdir('d'); os.chroot('d'); "
        "print(os.path.exists('/usr'), os.path.exists('/usr'), os.listdir('/'))"
    )
    runs = [ns.exec("/usr/bin/python3", "-c", script, env=env).ok() for env in ({}, WITHOUT)]
    assert runs[0] == runs[1]
    assert runs[0].lines == ["True", "False False []"]


FIRST_LOOKS = """
import os, socket, time

def show(what, *found):
    for one in found:
        print(what, one, one.st_mtime_ns, one.st_ctime_ns, one.st_atime_ns, one.st_blocks)

def look(name):
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    show(name, os.fstat(fd), os.stat(name), os.lstat(name), os.fstat(fd))
    os.close(fd)

def make(name, text="", **times):
    with open(name, "w") as file:
        file.write(text)
    if times:
        os.utime(name, **times)
    look(name)

for name in sorted(os.listdir("/usr/bin"))[:20]:
    if os.path.exists("/usr/bin/" + name):
        look("/usr/bin/" + name)
for name in ("/", "/etc", ".", "/tmp", "/dev", "/etc/passwd", "/proc/version"):
    look(name)
for _ in range(3):
    ends = [*os.pipe(), *(end.detach() for end in socket.socketpair()), os.memfd_create("m")]
    show("ends", *map(os.fstat, ends))
    os.write(ends[1], b"x")
    show("written", *map(os.fstat, ends))
    os.fchmod(ends[0], 0o600)
    show("changed", *map(os.fstat, ends))
make("gone", "x")
with open("gone") as gone:
    os.unlink("gone")
    show("gone", os.fstat(gone.fileno()))
os.mkdir("d")
look("d")
make("d/a", "a" * 5000)
look("d")
os.link("d/a", "d/b")
look("d/b")
os.symlink("a", "d/c")
look("d/c")
os.mkfifo("d/p")
look("d/p")
make("d/(deleted)", "x")
make("old", "x", ns=(5 * 10**9 + 1, 6 * 10**9 + 2))
make("ancient", "x", ns=(-5 * 10**9 - 1, -6 * 10**9 - 2))
make("late", "x", ns=(2**63 // 10**9 * 10**9, 2**62))
make("now", "x")
os.utime("now")
look("now")
with open("holes", "w") as holes:
    holes.truncate(1 << 20)
    holes.seek(1 << 19)
    holes.write("x")
look("holes")
if os.fork() == 0:
    time.sleep(500)
    make("later", "x")
    os._exit(0)
while not os.path.exists("later") or not os.stat("later").st_size:
    time.sleep(1)
print(int(time.time()))
os.wait()
for size in (1, 8, 19, 20, 21, 0, 255, 256, 257, 3):
    print(os.getrandom(size).hex(), os.getrandom(size, os.GRND_NONBLOCK).hex())
for flags in (6, 8):
    try:
        print(os.getrandom(4, flags))
    except OSError as error:
        print(error)
print(os.getrandom(4, os.GRND_RANDOM).hex(), sorted({"a", "b", "c"}))
"""


def test_first_looks_and_draws_are_the_same_without_it(ns: Runner) -> None:
    runs = []
    for env in ({}, WITHOUT, {}):
        cwd = ns.directory()
        runs.append(ns.exec("/usr/bin/python3", "-c", FIRST_LOOKS, cwd=cwd, env=env).ok())
    assert runs[0].lines == runs[1].lines == runs[2].lines
    assert len(runs[0].lines) > 150


READINGS = """
import ctypes, os, resource, time
libc = ctypes.CDLL(None, use_errno=True)
def system(buffer):
    return libc.sysinfo(buffer), ctypes.get_errno()
def all_clocks():
    info = ctypes.create_string_buffer(b"x" * 120, 120)
    print(system(info), info.raw.hex(), system(None), system(ctypes.c_void_p(8)))
    print(*(time.clock_gettime_ns(which) for which in (*range(10), 11)))
    print(time.time_ns(), time.monotonic_ns(), time.process_time_ns(), time.thread_time_ns())
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_THREAD, resource.RUSAGE_CHILDREN):
        print(resource.getrusage(who)[:3])
    print(os.times(), time.ctime())
for _ in range(15):
    all_clocks()
open("made", "w").close()
print(os.stat("made").st_mtime_ns, time.time_ns(), os.stat("made").st_mtime_ns)
time.sleep(3)
all_clocks()
"""

AND_A_CHILDS = """
if os.fork() == 0:
    for _ in range(9):
        time.time(), time.monotonic(), time.process_time()
    os._exit(0)
all_clocks()
os.wait()
all_clocks()
"""


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (READINGS + AND_A_CHILDS, ()),
        (READINGS + AND_A_CHILDS, ("--epoch=7", "--sched=other")),
        # Its processes share one clock, in the order in which they happen to ask.
        (READINGS, ("--clock=global",)),
    ],
)
def test_readings_of_clocks_are_the_same_without_it(
    ns: Runner, script: str, options: tuple[str, ...]
) -> None:
    runs = []
    for env in ({}, WITHOUT, {}):
        cwd = ns.directory()
        command = "/usr/bin/python3", "-c", script
        runs.append(ns.exec(*command, options=options, cwd=cwd, env=env).ok())
    assert runs[0].lines == runs[1].lines == runs[2].lines
    assert len(runs[0].lines) > 100


IN_A_CHROOT = """
import os, sys
os.makedirs("/tmp/r")
if os.system("mount --rbind / /tmp/r"):
    sys.exit(1)
os.makedirs("/tmp/r/tmp/in/below")
os.chroot("/tmp/r")
os.chdir("/tmp/in")
os.symlink("/etc/passwd", "to-etc")
os.symlink("../../../../../../etc/passwd", "far-up")
os.symlink("/nowhere", "dangling")
os.symlink("/proc/self/status", "to-self")
os.symlink("loop", "loop")
etc = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)

def show(how, name, **where):
    try:
        print(how.__name__, name, how(name, **where))
    except OSError as error:
        print(how.__name__, name, error)

for _ in range(2):
    for name in (
        *("/etc/passwd", "to-etc", "far-up", "dangling", "to-self", "loop", "below", "below/.."),
        *("../../../../../bin", "/../../etc", "nothing", "/nothing", "below/", "to-etc/"),
        *("dangling/", "/dangling", "/tmp/in/nothing/", "/etc/passwd/x"),
        *("/proc/self/status", "/proc/self/fd/0", "/dev/null", "/tmp/in/below/../to-etc", ".", "/"),
    ):
        show(os.stat, name)
        show(os.lstat, name)
    show(os.stat, "passwd", dir_fd=etc)
    show(os.lstat, "../bin", dir_fd=etc)
    show(os.stat, "../../../tmp/in/far-up", dir_fd=etc)
    show(os.stat, etc)
    print(open("/tmp/in/to-etc").read() == open("/etc/passwd").read(), os.path.realpath("far-up"))
    os.chdir("/tmp/in/below")
os.chroot("/usr")
show(os.stat, "/bin/env")
show(os.stat, "/usr")
os.chdir("/")
os.setresuid(1, 1, 0)
show(os.stat, "/bin/env")
show(os.stat, "/bin/nothing")
"""


def test_looks_within_a_chroot_are_the_same_without_it(ns: Runner) -> None:
    runs = [
        ns.exec("/usr/bin/python3", "-c", IN_A_CHROOT, env=env).ok() for env in ({}, WITHOUT, {})
    ]
    assert runs[0].lines == runs[1].lines == runs[2].lines
    assert len(runs[0].lines) > 90


@pytest.mark.parametrize("where", [(), ("chroot",)])
def test_writers_do_the_same_without_it(ns: Runner, where: tuple[str, ...]) -> None:
    script = (Path(__file__).parent / "writers.py").read_text()
    runs, left = [], []
    for env in ({}, WITHOUT, {}):
        cwd = ns.directory()
        runs.append(ns.exec("/usr/bin/python3", "-c", script, *where, cwd=cwd, env=env).ok())
        # To read a directory or a link gives it another atime.
        files = [path for path in cwd.rglob("*") if path.is_file() and not path.is_symlink()]
        found = {path.relative_to(cwd): path.stat() for path in files}
        left.append({name: (one.st_atime_ns, one.st_mtime_ns) for name, one in found.items()})
    for one, other in zip(runs[0].lines, runs[1].lines, strict=True):
        assert one == other
    assert runs[0].lines == runs[2].lines
    assert len(runs[0].lines) > 4000
    assert left[0] == left[1] == left[2]
    assert bool(left[0]) != bool(where)


AT_A_PIPE = """
import os, time

def stage(number, read, write):
    # Each round some call, then wait for one another at both ends, as a decompressor and tar do.
    for round_ in range(40):
        size = 4096 * (1 + (round_ * 7 + number * 3) % 30)
        if read is not None:
            while size > 0 and (data := os.read(read, size)):
                size -= len(data)
                os.stat("/usr/bin/env")
        for name in range(round_ % 3):
            path = f"{number}-{round_}-{name}"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.fchmod(fd, 0o600)
            os.close(fd)
            log.append((path, time.time_ns(), time.monotonic_ns()))
        if write is not None:
            os.write(write, bytes(4096 * (1 + (round_ * 7 + (number + 1) * 3) % 30)))

log, before, children = [], None, []
for number in range(4):
    read, write = os.pipe() if number < 3 else (None, None)
    if os.fork() == 0:
        if read is not None:
            os.close(read)
        stage(number, before, write)
        with open(f"log{number}", "w") as file:
            print(*log, sep="\\n", file=file)
        os._exit(0)
    for end in (before, write):
        if end is not None:
            os.close(end)
    before = read
for _ in range(4):
    os.wait()
    log.append(time.time_ns())
for name in sorted(os.listdir(".")):
    found = os.stat(name)
    print(name, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
for number in range(4):
    print(open(f"log{number}").read())
print(log)
"""


def test_who_waits_at_pipes_comes_in_the_same_order_without_it(root: Runner) -> None:
    """Under SCHED_FIFO, which alone promises an order."""
    runs = []
    for env in ({}, WITHOUT, {}):
        command = "/usr/bin/python3", "-c", AT_A_PIPE
        runs.append(root.exec(*command, cwd=root.directory(), env=env).ok())
    assert runs[0].lines == runs[1].lines == runs[2].lines
    assert len(runs[0].lines) > 300


_COUNT = """
import os
from nsbuild.supervisor.answers import stat
_log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
_look = stat.Stat.newfstatat
def _counted(self, call, process):
    os.write(_log, b"x")
    _look(self, call, process)
stat.Stat.newfstatat = _counted
"""


def test_first_looks_do_not_take_the_way_through_python(ns: Runner) -> None:
    """Not even at files that nobody has looked at before."""
    cwd, hooks = ns.directory(), ns.directory("hooks-")
    for number in range(200):
        (cwd / f"file{number}").touch()
    log = hooks / "log"
    (hooks / "sitecustomize.py").write_text(_COUNT.format(log=str(log)))
    script = "import os; print(sum(os.stat(f'file{n}').st_size for n in range(200)))"
    looked = {}
    for without in (False, True):
        env = {
            "PYTHONPATH": f"{hooks}:{ns.environment()['PYTHONPATH']}",
            **(WITHOUT if without else {}),
        }
        seen = ns.exec("/usr/bin/python3", "-Ic", script, cwd=cwd, env=env).ok()
        assert seen.text == "0\n"
        looked[without] = log.stat().st_size
        log.unlink()
    assert looked[True] > 200
    assert looked[False] < 50
