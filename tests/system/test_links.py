"""Links of /proc show the numbers that stat shows, and no number that the kernel counts."""

from __future__ import annotations

import pytest

from tests.system.harness import EPOCH, Runner

WITHOUT = {"NSBUILD_HOTCALLS": "0"}

# Each descriptor and namespace of the process by every way that leads there: what the link says and
# whether stat says the same.
NUMBERS = """
import os, socket, sys
ends = [*os.pipe(), *(end.detach() for end in socket.socketpair())]
tid = os.getpid()
ways = [f"/proc/{way}/fd" for way in ("self", "thread-self", tid, f"self/task/{tid}")]
ways.append("/dev/fd")
for way in ways:
    for fd in ends:
        text, number = os.readlink(f"{way}/{fd}"), os.stat(f"{way}/{fd}").st_ino
        print(way, text, number == os.fstat(fd).st_ino, text.endswith(f":[{number}]"))
for name in sorted(os.listdir("/proc/self/ns")):
    text, number = os.readlink(f"/proc/self/ns/{name}"), os.stat(f"/proc/self/ns/{name}").st_ino
    print(name, text, text.endswith(f":[{number}]"))
parent = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("uts", "mnt", "user")}
sys.stdout.flush()
if not os.fork():
    for name, text in parent.items():
        print(os.readlink(f"/proc/self/ns/{name}") == text == os.readlink(f"/proc/{tid}/ns/{name}"))
    raise SystemExit
os.wait()
directory = os.open("/proc/self/fd", os.O_RDONLY)
print(os.readlink(str(ends[0]), dir_fd=directory))
os.chdir("/proc/self")
print(os.readlink(f"fd/{ends[0]}"))
"""


def test_numbers(ns: Runner) -> None:
    seen = ns.twice("/usr/bin/python3", "-c", NUMBERS).ok()
    assert "False" not in seen.text
    assert ns.exec("/usr/bin/python3", "-c", NUMBERS, env=WITHOUT).ok().lines == seen.lines


@pytest.mark.parametrize(
    "script",
    [
        "true | ls -l --time-style=+ /proc/self/fd/0 | sed 's/.* //'",
        "true | stat -L -c %i /proc/self/fd/0; true | stat -c %N /proc/self/fd/0",
        "true | find /proc/self/fd/0 -printf '%l\n'; find /proc/self/ns/uts -printf '%l\n'",
        'true | perl -e \'print readlink("/proc/self/fd/0"), "\n"\'',
        "sh -c 'true | readlink /dev/stdin'; unshare -u readlink /proc/self/ns/uts",
    ],
)
def test_programs(root: Runner, script: str) -> None:
    root.twice("sh", "-c", script).ok()


AS_THE_KERNEL = """
import ctypes, os, tempfile
libc = ctypes.CDLL(None, use_errno=True)
reader, writer = os.pipe()
pipe = f"/proc/self/fd/{reader}".encode()
os.symlink("/nowhere", "link")
cases = [(pipe, size) for size in (0, -1, 6, 1 << 33 | 6)]
cases += [(path, 100) for path in (None, b"", b"/none", b"/etc/passwd", b"/etc/passwd/x", b"link")]
cases += [(b"a" * 5000, 100), (b"/proc/self/fd/999", 100), (b"/proc/self/exe", 4)]
for path, size in cases:
    into = ctypes.create_string_buffer(300)
    ctypes.set_errno(0)
    done = libc.readlink(path, into, ctypes.c_size_t(size))
    print(path and path[:20], size, done, ctypes.get_errno(), into.raw[:6])
for where in (None, 8):
    ctypes.set_errno(0)
    print(libc.readlink(pipe, ctypes.c_void_p(where), 100), ctypes.get_errno())
memory = os.memfd_create("m")
with tempfile.TemporaryFile(dir=".") as gone:
    print(os.readlink(f"/proc/self/fd/{memory}"))
print(os.path.basename(os.readlink("/proc/self/exe")))
"""


def test_as_the_kernel_does(ns: Runner) -> None:
    """The same errors, the same cut, and the same text wherever that has no number."""
    bare = ns.bare("/usr/bin/python3", "-c", AS_THE_KERNEL).ok()
    for env in ({}, WITHOUT):
        seen = ns.exec("/usr/bin/python3", "-c", AS_THE_KERNEL, env=env).ok()
        assert seen.lines == bare.lines


def test_what_stands_for_a_file_of_proc_has_its_path(ns: Runner) -> None:
    seen = ns.exec("sh", "-c", "exec </proc/self/stat; readlink /proc/$$/fd/0; echo $$").ok()
    assert seen.lines[0] == f"/proc/{seen.lines[1]}/stat"


def test_links_of_others_are_for_those_with_all_rights(root: Runner) -> None:
    """A user may not read what the processes of another have open."""
    script = (
        "import os; os.setresuid(65534, 65534, 65534); r, w = os.pipe()\n"
        "print(os.readlink(f'/proc/self/fd/{r}').endswith(f'[{os.fstat(r).st_ino}]'))\n"
        "for path in ('/proc/2/fd/0', '/proc/2/ns/uts'):\n"
        "    try:\n"
        "        print(os.readlink(path))\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
    )
    command = 'exec </dev/null; /usr/bin/python3 -c "$0"; :'
    for env in ({}, WITHOUT):
        seen = root.exec("sh", "-c", command, script, env=env).ok()
        assert seen.lines == ["True", "Permission denied", "Permission denied"]


def test_realpath_is_let_through(root: Runner) -> None:
    """Not covered: realpath(3), by its 1023 bytes, and `readlink -f`, which shows what it read.

    To be asked 185,000 times would make the build of GNU hello 5 % slower (docs/files.md).
    """
    script = "true | readlink -f /proc/self/fd/0"
    numbers = {root.exec("sh", "-c", script).ok().text for _ in range(2)}
    assert len(numbers) == 2


def test_what_is_made_through_a_dangling_link_in_another_root_is_new(ns: Runner) -> None:
    script = (
        "import os; os.mkdir('d'); os.chroot('d'); os.chdir('/'); open('/made', 'w').close()\n"
        "os.symlink('nowhere', '/link'); open('/link', 'w').write('a')\n"
        "print(*(int(os.stat(name).st_mtime) for name in ('/made', '/nowhere')))\n"
    )
    for env in ({}, WITHOUT):
        seen = ns.exec("/usr/bin/python3", "-c", script, env=env).ok()
        made, through = map(int, seen.text.split())
        assert EPOCH <= made < through
