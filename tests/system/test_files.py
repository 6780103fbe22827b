"""Files: times, numbers, sizes and order do not come from the host.

Each script runs twice under nsbuild in different directories and at different times and must print
the same; bare it must not (see harness). What must not differ from the kernel is in
test_file_calls.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import EPOCH, SHOW, Runner, burn_pids, lines

AS_COMPILERS = """
import ctypes, fcntl, os
libc = ctypes.CDLL(None)
for inherited in (0, fcntl.FD_CLOEXEC):
    # Python itself always adds O_CLOEXEC.
    fd = libc.open(b"/proc/self/schedstat", os.O_RDONLY | os.O_NOCTTY)
    fcntl.fcntl(fd, fcntl.F_SETFD, inherited)
    print(os.fstat(fd), fcntl.fcntl(fd, fcntl.F_GETFD), os.read(fd, 4096))
path = os.open("/proc/self/schedstat", os.O_PATH)
os.fstat(path)
print(bool(fcntl.fcntl(path, fcntl.F_GETFL) & os.O_PATH))
"""

SCRIPTS = {
    "write": f"echo a >a; echo b >>a; {SHOW} a .",
    "create-order": f"for i in c a b; do echo $i >$i; done; ls -fi; {SHOW} *",
    "many": "mkdir d; (cd d; seq 300 | xargs touch); ls -fi d | sha256sum; ls -lid d",
    "rename": f"echo a >a; mv a b; {SHOW} b .; echo c >c; mv c b; {SHOW} b .",
    "exchange": f"echo a >a; echo b >b; /usr/bin/python3 -c '{{}}'; {SHOW} a b .".format(
        'import ctypes; ctypes.CDLL(None).renameat2(-100, b"a", -100, b"b", 2)'
    ),
    "link": f"echo a >a; ln a b; {SHOW} a b .; rm a; {SHOW} b .",
    "symlink": f"ln -s a b; {SHOW} b .; ln -s nowhere c; echo d >c; {SHOW} nowhere c",
    "mkdir-rmdir": f"mkdir -p d/e; {SHOW} . d d/e; rmdir d/e; {SHOW} d",
    "mknod": f"mkfifo p; {SHOW} p .",
    "chmod": f"echo a >a; chmod 700 a; {SHOW} a; chown $(id -u) a; {SHOW} a",
    "touch-now": f"echo a >a; touch a; {SHOW} a; touch -a a; {SHOW} a; touch -m a; {SHOW} a",
    "touch-explicit": f"echo a >a; touch -d 2001-02-03T04:05:06.789 a; {SHOW} a; echo b >>a; "
    f"{SHOW} a",
    "copy-times": f"echo a >a; touch -d 2001-02-03 a; cp -p a b; {SHOW} b; cp a c; {SHOW} c",
    "truncate": f"echo a >a; truncate -s 100k a; {SHOW} a; truncate -s 0 a; {SHOW} a",
    "truncate-same": f"echo a >a; touch -d 2001-02-03 a; truncate -s 2 a; {SHOW} a",
    "touch-old-atime": f"echo a >a; touch -a -d 2001-02-03 a; cat a; {SHOW} a; touch -a a; "
    f"{SHOW} a",
    "open-file": f"exec 3>a; {SHOW} a; date; echo a >&3; {SHOW} a; echo b >&3; {SHOW} a",
    "read-write": f"echo a >a; exec 3<>a; {SHOW} a; echo b >&3; {SHOW} a",
    "tmpfile": "/usr/bin/python3 -c '{}'".format(
        'import os; fd = os.open(".", os.O_TMPFILE | os.O_RDWR); os.write(fd, b"a"); '
        's = os.fstat(fd); print(s); os.link(f"/proc/self/fd/{fd}", "a", '
        'src_dir_fd=fd, follow_symlinks=True); print(os.stat("a"), os.stat("."))'
    ),
    "mmap": "/usr/bin/python3 -c '{}'; {}".format(
        'import mmap; f = open("a", "w+b"); f.truncate(8192); '
        "m = mmap.mmap(f.fileno(), 0); m[0] = 65; m.flush()",
        f"{SHOW} a",
    ),
    "statx": '/usr/bin/python3 -c \'import os; print(os.stat("."), os.stat("/"))\'',
    "pipe": "/usr/bin/python3 -c 'import os; r, w = os.pipe(); print(os.fstat(r), os.fstat(w))'",
    "socket": f"/usr/bin/python3 -c '{{}}'; {SHOW} s".format(
        'import os, socket; s = socket.socket(socket.AF_UNIX); s.bind("s"); '
        "print(os.fstat(s.fileno()))"
    ),
    "memfd": "/usr/bin/python3 -c '{}'".format(
        'import os; fd = os.memfd_create("a"); os.write(fd, b"a"); print(os.fstat(fd))'
    ),
    "stdin": "stat -L -c '%i %d %y' /dev/stdin </etc/passwd; echo a >a; stat -L - <a",
    "proc": f"{SHOW} /proc /proc/self /proc/self/status /proc/1 /sys /sys/kernel /dev /dev/pts",
    "proc-self": "cat /proc/self/stat /proc/self/status /proc/self/statm /proc/self/io; "
    "cat /proc/thread-self/schedstat /proc/$$/stat; grep Cpus /proc/self/status",
    "proc-of-init": "cd /proc/1; cat stat status statm schedstat timens_offsets; ps -ef",
    "proc-mounted": "mkdir p; mount -t proc p p; cd p/self; cat stat status statm timens_offsets; "
    "cat ../self/maps; cp stat /tmp/a; stat -L -c %i stat - <stat; "
    "readlink fd/0 <stat | sed s,.*/p/,,",
    "proc-in-a-root": "mkdir r; mount --rbind / r; exec chroot r sh -c 'cd /proc/self; "
    "cat stat status statm timens_offsets; cat /proc/self/maps; head -3 mountinfo; "
    "stat -L -c %i stat - <stat'",
    "proc-within": "exec unshare -pf --mount-proc sh -c 'cd /proc/self; cat stat status statm io; "
    "cat ../1/stat ../1/maps; stat -L -c %F . ../thread-self exe; ls fd; test -e /proc/self/maps'",
    "proc-as-compilers-open": "gzip -c /proc/self/stat 2>/dev/null | zcat; "
    "xz -c /proc/self/status | xzcat; "
    f"/usr/bin/python3 -c '{AS_COMPILERS}'",
    "proc-copied": "cp /proc/self/status a; cat a; cp -a /proc/self/stat b; cat b; ls -l a b; "
    "stat -L - </proc/self/stat; stat /proc/self/stat",
    "mounts": "cd /; sed -E 's,[^ ]*nsbuild-tests[^ ]*,CWD,' /proc/self/mountinfo /etc/mtab "
    "/proc/self/mountstats /proc/1/mountinfo /proc/$$/mounts; "
    "df -T | sed 's,[^ ]*nsbuild-tests.*,CWD,'",
    "maps": "cat /proc/self/maps",
    "tmp": f"cd /tmp; unset PWD OLDPWD; echo a >a; {SHOW} a .; mktemp -d; ls -lai --full-time",
    "df": "df -k . / /tmp | tail -n +2 | awk '{print $2, $3, $4}'; stat -f -c '%i %l %T %b %c' . /",
    "du": "dd if=/dev/zero of=a bs=1k count=10 2>/dev/null; truncate -s 1M b; "
    "du -ak --time --time-style=full-iso; du -s",
    "find": "mkdir -p b/c a; touch b/c/x a/y; find . -printf '%p %i %D %k %b %T@ %C@ %A@\n'",
    "python": "echo 'x = 1' >m.py; /usr/bin/python3 -m compileall -q m.py; sha256sum __pycache__/*",
    "make": "printf 'a: b\n\tcp b a\n' >Makefile; echo b >b; make; make; touch b; make; "
    f"{SHOW} a b",
    "children": f"(echo a >a); (echo b >b; {SHOW} a); sh -c 'echo c >c'; {SHOW} a b c",
    "reused": f"for i in 1 2 3 4 5; do echo $i >x; stat -c %i x; rm x; done; echo y >y; {SHOW} y",
}

AS_USER = (
    "proc-self",
    "proc-of-init",
    "proc-as-compilers-open",
    "mounts",
    "write",
    "rename",
    "touch-explicit",
    "tmpfile",
    "find",
    "make",
    "children",
    "create-order",
)


@pytest.mark.parametrize(
    ("ns", "name"),
    [*(("root", name) for name in SCRIPTS), *(("user", name) for name in AS_USER)],
    indirect=["ns"],
)
def test_script(ns: Runner, name: str) -> None:
    ns.twice("sh", "-c", SCRIPTS[name]).ok()


@pytest.mark.parametrize("name", ["proc-mounted", "proc-in-a-root", "proc-within"])
def test_script_that_takes_root_outside(ns: Runner, name: str) -> None:
    first = ns.exec("sh", "-c", SCRIPTS[name]).ok()
    burn_pids(300)
    second = ns.exec("sh", "-c", SCRIPTS[name]).ok()
    assert first.stdout == second.stdout


def test_an_input_is_never_later_than_the_epoch(ns: Runner) -> None:
    cwd = ns.directory()
    for name, when in (("old", 1_000_000_000), ("new", EPOCH + 5)):
        (cwd / name).write_text("")
        os.utime(cwd / name, (when, when))
    assert lines(ns, "stat -c %Y%Z old new", cwd) == [
        "10000000001000000000",
        f"{EPOCH}{EPOCH}",
    ]
    assert lines(ns, "stat -c %Y old new", cwd)[0] == "1000000000"


def test_what_is_written_is_later_than_what_was_read(ns: Runner) -> None:
    """Each step of a chain sees the one before as older, and none as of the future."""
    steps = "echo a >0; for i in 1 2 3 4 5; do cat $((i-1)) >$i; done; ls -tr; date +%s"
    *order, now = lines(ns, f"{steps}; find . -type f -newermt @$(date +%s)")
    assert order == ["0", "1", "2", "3", "4", "5"]
    assert int(now) > EPOCH


def test_what_the_caller_hands_in_is_the_file_that_it_is(ns: Runner) -> None:
    """By device and number: else `cat f >>f` would go on until the disk is full."""
    cwd = ns.directory()
    script = "ulimit -f 100; cat f; stat -Lc '%d %i' f /proc/self/fd/9 9>&1 >&2"
    outer = 'umask 0; echo hello >f; exec "$@" >>f'
    seen = [
        ns.outside(["sh", "-c", outer, "sh", *command], cwd=cwd)
        for command in (ns.command("exec", "/", "sh", "-c", script), ["sh", "-c", script])
    ]
    for outcome in seen:
        refused, first, second = outcome.stderr.decode().splitlines()[-3:]
        assert refused == "cat: f: input file is output file"
        assert first == second


def test_an_input_keeps_its_birth_time(ns: Runner) -> None:
    cwd = ns.directory()
    (cwd / "old").write_text("")
    os.chown(cwd / "old", ns.account.uid, ns.account.gid)
    os.utime(cwd / "old", (1_000_000_000, 1_000_000_000))
    assert lines(ns, "echo a >old; stat -c %W old", cwd) == ["1000000000"]


def test_a_truncation_to_the_same_size_is_a_write(root: Runner, tmp_path: Path) -> None:
    """ext4 says so, tmpfs does not."""
    script = "touch -d 2001-02-03 a; truncate -s 0 a; stat -c %y a"
    seen = [lines(root, f"cd {place}; {script}") for place in (".", "/tmp", "/var/tmp")]
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0].startswith("2015-12-22")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("touch -a -d @9 a; cat a; stat -c %X a", "9"),
        ("touch -d @9 a; touch -a a; test $(stat -c %X a) -gt 9; echo $?", "0"),
        ("touch -d @9 a; touch a; test $(stat -c %X a) -eq $(stat -c %Y a); echo $?", "0"),
        ("touch -a -d @9 a; echo b >a; stat -c %X a", "9"),
    ],
)
def test_atime_is_what_was_set(root: Runner, command: str, expected: str) -> None:
    """Whether reading moves it is up to the host's mount options."""
    assert lines(root, command)[-1] == expected


def test_a_reader_moves_up_to_what_it_sees(ns: Runner) -> None:
    """A sibling wrote later than our own clock shows; having seen that, we are not before it."""
    script = (
        "(for i in 1 2 3 4 5 6 7 8 9; do date >/dev/null; done; echo a >a) & wait; "
        "sh -c 'test a -ot /nowhere; stat -c %Y a; date +%s'"
    )
    written, now = map(int, lines(ns, script))
    assert now > written


def test_a_written_file_keeps_its_virtual_time_on_disk(ns: Runner) -> None:
    cwd = ns.directory()
    script = (
        "echo a >a; mkdir d; echo b >d/b; ln -s x l; touch -d 2001-02-03T04:05:06Z e; mv a f; "
        "for i in 1 2 3; do echo $i >$i; done; echo more >>1; stat -c '%n %Y' 2; "
        "exec 5>open; echo x >&5"
    )
    before = lines(ns, script, cwd)
    found = {
        str(path.relative_to(cwd)): os.lstat(path).st_mtime_ns / 1e9 for path in cwd.rglob("*")
    }
    assert before == [f"2 {found['2']:.0f}"]
    assert found.pop("e") == 981173106
    assert sorted(found) == ["1", "2", "3", "d", "d/b", "f", "l", "open"]
    assert all(EPOCH <= when < EPOCH + 100 for when in found.values()), found
    assert len(set(found.values())) >= 7, found
    assert EPOCH <= cwd.stat().st_mtime < EPOCH + 100


def test_what_nobody_has_looked_at_gets_its_time_wherever_it_ends_up(ns: Runner) -> None:
    cwd = ns.directory()
    script = (
        "mkdir -p new/d swap; echo a >new/d/a; echo b >swap/b; mv new old; echo c >old/c; "
        "/usr/bin/python3 -c '{}'; "
        "exec 5>f; echo x >&5; stat f; echo y >&5; mv f g; echo z >&5; "
        "for i in 1 2; do echo $i >$i; ln $i old/$i; done; rm 1; mv g 2; echo 3 >>old/1; "
        "echo 4 >>old/2; echo g >h; ln h i; mkdir j; echo k >j/k; mv i j/l; mv j m; "
        "echo e >e; ln e old/e; exec 6>>e; rm e; echo f >&6"
    ).format('import ctypes; ctypes.CDLL(None).renameat2(-100, b"old/d", -100, b"swap", 2)')
    lines(ns, script, cwd)
    found = {str(path.relative_to(cwd)): path.stat().st_mtime for path in cwd.rglob("*")}
    assert sorted(found) == [
        *(
            "2",
            "h",
            "m",
            "m/k",
            "m/l",
            "old",
            "old/1",
            "old/2",
            "old/c",
            "old/d",
            "old/d/b",
            "old/e",
            "swap",
            "swap/a",
        )
    ]
    assert all(EPOCH <= when < EPOCH + 100 for when in found.values()), found


def test_a_file_of_the_callers_is_not_stamped(root: Runner) -> None:
    """The command's output goes to a file of the caller's, who is outside."""
    cwd = root.directory()
    before = time.time() - 1
    with open(cwd / "log", "wb") as log:
        subprocess.run(
            root.command("exec", "/", "sh", "-c", "echo a; stat -c %Y log"),
            stdout=log,
            check=True,
            cwd=cwd,
            env=root.environment(),
            timeout=60,
        )
    assert (cwd / "log").read_text() == f"a\n{EPOCH}\n"
    assert (cwd / "log").stat().st_mtime >= before


def test_numbers_agree_between_stat_and_readdir(ns: Runner) -> None:
    script = (
        "mkdir d; touch d/a d/b; ln d/a d/c; cd d; "
        "for f in a b c; do stat -c '%i %n' $f; done; ls -fi1 | grep '[abc]$'"
    )
    shown = [line.split() for line in lines(ns, script)]
    assert sorted(shown[:3]) == sorted(shown[3:])
    numbers = {name: number for number, name in shown[:3]}
    assert numbers["a"] == numbers["c"] != numbers["b"]


def test_a_directory_is_sorted_by_bytes_wherever_it_is(ns: Runner) -> None:
    names = ["Z", "a", "b", "\udcff", ".x", "10", "9", "ä"]
    code = (
        "import os; "
        f"[open(os.fsencode(n), 'w').close() for n in {names!r}]; "
        "print([os.fsencode(e) for e in os.listdir('.')])"
    )
    outcome = ns.exec("/usr/bin/python3", "-X", "utf8", "-c", code).ok()
    assert outcome.text.strip() == repr(sorted(map(os.fsencode, names)))


def test_a_directory_of_100000_entries(root: Runner) -> None:
    code = (
        "import os; os.mkdir('d')\n"
        "for i in range(100_000): os.close(os.open(f'd/{i}', os.O_CREAT | os.O_WRONLY))\n"
        "names = os.listdir('d'); print(len(names), names == sorted(names))\n"
        "import shutil; shutil.rmtree('d'); print(os.path.exists('d'))"
    )
    outcome = root.exec("/usr/bin/python3", "-c", code, timeout=120).ok()
    assert outcome.text.split() == ["100000", "True", "False"]


def test_a_removed_directory_has_no_links(ns: Runner) -> None:
    script = "mkdir d; cd d; stat -c %h .; rmdir ../d; stat -c %h .; stat -c %h ."
    assert lines(ns, script) == ["1", "0", "0"]


def test_git_sees_a_clean_tree(ns: Runner) -> None:
    needs_tools("git")
    script = (
        "export HOME=/tmp; git init -q .; git config user.email a@b; git config user.name a; "
        "echo a >a; git add a; git commit -qm a; git status --porcelain; git diff-files; "
        "echo b >a; git status --porcelain; git commit -qam b; git diff-files; git rev-parse HEAD"
    )
    ns.twice("sh", "-c", script).ok()


def test_a_directory_that_was_read_is_read_again_after_a_change(ns: Runner) -> None:
    """Also when a process whose clock is behind makes the change."""
    script = (
        "mkdir d; (for i in 1 2 3 4 5; do date; done; touch d/late) >/dev/null & wait $!; "
        "ls d; (touch d/early); ls d; mv d/early d/moved; ls d; rm d/late; ls d; "
        "mkdir e; ls -ai d | head -2 >/tmp/1; mv d e/d; ls -ai e/d | head -2 >/tmp/2; "
        "cmp -s /tmp/1 /tmp/2 || echo other"
    )
    assert lines(ns, script) == ["late", "early", "late", "late", "moved", "moved", "other"]


def test_nothing_that_was_looked_at_stays_busy(root: Runner) -> None:
    """A file system that the build has mounted, entered and written can be unmounted at once."""
    needs_tools("busybox")
    script = (
        "mkdir m; for i in 1 2 3; do mount -t tmpfs none m; cp /bin/busybox m; mkdir m/d; "
        "chroot m /busybox sh -c '/busybox stat -c %n /d; /busybox touch /d/x; "
        "/busybox ls /d; cd d; /busybox stat -c %n x; >y'; touch m/z; umount m || exit 1; done; "
        "unshare -m sh -c 'mount -t tmpfs none m; stat -c %n m; echo a >m/a; umount m'"
    )
    assert lines(root, script) == [*["/d", "x", "x"] * 3, "m"]


IOCTLS = """
import fcntl, os, struct
with open("a", "wb") as file:
    file.write(b"a" * 9000)
    os.fsync(file.fileno())
    extents = struct.pack("=QQIIII", 0, 1 << 40, 0, 0, 4, 0) + bytes(4 * 56)
    asked = ((0x80087601, bytes(8)), (0x80086603, bytes(8)), (0xC020660B, extents))
    disk = ((0x80111500, bytes(17)), (0x80811501, bytes(129)), (0x81009431, bytes(256)))
    for number, buffer in asked + disk:
        try:
            print(hex(number), fcntl.ioctl(file, number, buffer))
        except OSError as error:
            print(hex(number), error.strerror)
"""


def test_ioctls_do_not_tell_of_the_disk(ns: Runner) -> None:
    """Generations of inodes are random, and extents are where there was room."""
    seen = ns.twice("/usr/bin/python3", "-c", IOCTLS).ok()
    refused, unsupported = "Inappropriate ioctl for device", "Operation not supported"
    said = [line.partition(" ")[2] for line in seen.lines]
    assert said == [refused, refused, unsupported, refused, refused, refused]


def test_inotify_cookies_are_not_covered(root: Runner) -> None:
    """The kernel counts all renames that anybody on the machine watches, and a read tells."""
    script = (
        "import ctypes, os, struct; libc = ctypes.CDLL(None); fd = libc.inotify_init1(0)\n"
        "libc.inotify_add_watch(fd, b'.', 0xC0); open('a', 'w').close(); os.rename('a', 'b')\n"
        "print(struct.unpack_from('=iII', os.read(fd, 4096))[2])\n"
    )
    cookies = {root.exec("/usr/bin/python3", "-c", script).ok().text for _ in range(2)}
    assert len(cookies) == 2
