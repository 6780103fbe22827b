"""What builders do inside: mounts, other roots, namespaces of their own, other users."""

from __future__ import annotations

import re
import time
from pathlib import Path
from shlex import quote

import pytest

from tests.system.account import interpreter
from tests.system.capabilities import needs, needs_tools
from tests.system.harness import Runner, burn_pids, load, next_second


@pytest.mark.parametrize("network", ["none", "host"])
def test_a_proc_mounted_inside_shows_the_same_machine(ns: Runner, network: str) -> None:
    script = (
        "mkdir /tmp/p; mount -t proc proc /tmp/p; for f in uptime loadavg cpuinfo stat meminfo; "
        "do cmp /proc/$f /tmp/p/$f; done; readlink /tmp/p/self >/dev/null; umount /tmp/p; "
        "ls -A /tmp/p; wc -l < /proc/mounts"
    )
    after = ns.exec("sh", "-ec", script, options=[f"--network={network}"]).ok()
    before = ns.exec("sh", "-c", "wc -l < /proc/mounts", options=[f"--network={network}"]).ok()
    assert after.lines == before.lines


@pytest.mark.parametrize("around", ["", "unshare -m ", "unshare -pf "])
def test_a_proc_bound_elsewhere_shows_the_same_machine(ns: Runner, around: str) -> None:
    """Not what covers it has to be asked for: many scripts that enter a root do not."""
    script = (
        f"mkdir /tmp/p; {around}sh -ec 'mount --bind /proc /tmp/p; "
        "for f in uptime loadavg cpuinfo stat meminfo version; do cmp /proc/$f /tmp/p/$f; done; "
        "umount /tmp/p; ls -A /tmp/p; mount --bind /proc/sys /tmp/p; ls /tmp/p'; ls /proc/sys"
    )
    seen = ns.exec("sh", "-ec", script).ok().lines
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]
    assert "kernel" in seen


BY_DESCRIPTORS = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
OPEN_TREE, MOVE_MOUNT, CLONE, EMPTY_PATH, HERE = 428, 429, 1, 4, -100
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    tree = libc.syscall(OPEN_TREE, HERE, source.encode(), CLONE)
    moved = libc.syscall(MOVE_MOUNT, tree, b"", HERE, target.encode(), EMPTY_PATH)
    print(moved, ctypes.get_errno() if moved else 0)
"""


def test_who_binds_by_descriptors_sees_the_same_machine(ns: Runner) -> None:
    """As mount(8) does in newer releases (util-linux 2.39)."""
    script = (
        'mkdir p d e; echo a >d/a; /usr/bin/python3 -c "$1" /proc p d e /proc nowhere; '
        "for f in uptime loadavg cpuinfo stat meminfo version; do cmp /proc/$f p/$f; done; "
        "umount p; ls -A p e; umount e"
    )
    seen = ns.exec("sh", "-ec", script, "sh", BY_DESCRIPTORS).ok().lines
    assert seen == ["0 0", "0 0", "-1 2", "e:", "a", "", "p:"]


def test_a_file_and_a_part_of_proc_are_bound_as_ever(ns: Runner) -> None:
    script = (
        "echo a >a; touch b; mount --bind a b; cat b; umount b; cat b; mkdir d; "
        "mount --bind /proc/sys/kernel d; cat d/ostype; umount d; ls d; "
        "mount --bind nothing d 2>/dev/null || echo $?; mount --bind a d 2>/dev/null || echo $?"
    )
    assert ns.exec("sh", "-ec", script).ok().lines == ["a", "Linux", "32", "32"]


@pytest.mark.parametrize("network", ["none", "host"])
def test_a_sysfs_mounted_inside_shows_the_same_machine(ns: Runner, network: str) -> None:
    script = "mkdir /tmp/s; mount -t sysfs sysfs /tmp/s; diff -r /sys /tmp/s; umount /tmp/s"
    assert ns.exec("sh", "-ec", script, options=[f"--network={network}"]).ok().stdout == b""


@pytest.mark.parametrize("fstype", ["proc", "sysfs"])
def test_who_mounts_by_descriptors_is_led_to_mount(ns: Runner, fstype: str) -> None:
    """As util-linux does from 2.39 on; bare, a new proc shows how long the host is up."""
    run = f"{ns.guest('mounts')} {fstype} /tmp/m"
    script = f"mkdir -p /tmp/m; unshare -m {run}"
    seen = ns.exec("sh", "-ec", script).ok()
    own = ns.exec(
        "sh", "-c", "echo uptime: $(cat /proc/uptime); cat /sys/devices/system/cpu/online"
    )
    uptime, online = own.ok().lines
    shown = uptime if fstype == "proc" else f"devices/system/cpu/online: {online}"
    assert seen.lines == ["fsopen: errno 38", shown]
    if ns.is_root:
        bare = ns.bare("sh", "-ec", f"d=$(mktemp -d); unshare -m {run.replace('/tmp/m', '$d')}")
        assert "fsopen" not in bare.ok().text
        assert bare.lines != seen.lines[1:]


def test_a_proc_and_a_sysfs_in_a_user_namespace_within(ns: Runner) -> None:
    """Bare the kernel gives such a one a proc of its own; here it would give none, as in Docker."""
    script = (
        "mkdir /tmp/p /tmp/s; unshare -Urmpf sh -ec 'mount -t proc proc /tmp/p; "
        "mount -t sysfs s /tmp/s; cmp /proc/uptime /tmp/p/uptime; "
        "cmp /proc/cpuinfo /tmp/p/cpuinfo; test -e /tmp/p/self/exe; diff -r /sys /tmp/s; "
        "umount /tmp/p; umount /tmp/s; "
        "ls -A /tmp/p /tmp/s; umount /proc || echo locked'"
    )
    seen = ns.exec("sh", "-ec", script)
    assert (seen.code, seen.lines) == (0, ["/tmp/p:", "", "/tmp/s:", "locked"]), seen


@pytest.mark.parametrize("around", ["unshare -Ur", "setpriv --bounding-set=-sys_admin unshare -m"])
def test_who_has_no_right_to_a_mount_namespace_mounts_nothing_there(
    ns: Runner, around: str
) -> None:
    """Root of an inner user namespace alone is none of the container's mounts."""
    needs_tools("setpriv")
    script = f"mkdir /tmp/p; {around} mount -t proc proc /tmp/p; ls -A /tmp/p"
    seen = ns.exec("sh", "-c", script)
    assert seen.stdout == b"", seen
    assert b"denied" in seen.stderr or b"not permitted" in seen.stderr


def test_mounts_in_a_mount_namespace_of_its_own(ns: Runner) -> None:
    script = (
        "mkdir -p /tmp/r/proc; unshare -m sh -ec 'mount -t proc proc /tmp/r/proc; "
        "cmp /proc/uptime /tmp/r/proc/uptime; umount /tmp/r/proc'; ls -A /tmp/r/proc"
    )
    assert ns.exec("sh", "-ec", script).ok().stdout == b""


NAMESPACES = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
CLONE_NEWNS, SIGCHLD, OPEN_TREE, OPEN_TREE_CLONE, CLONE = 0x20000, 17, 428, 1, 56
os.mkdir("/tmp/d")
for turn in range(20):
    # Of its own it takes one number, so that those of the next namespace move up by one.
    libc.syscall(OPEN_TREE, -100, b"/tmp", OPEN_TREE_CLONE)
    if sys.argv[1] == "clone":
        child = libc.syscall(CLONE, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0)
    else:
        child = os.fork()
        if child == 0 and libc.unshare(CLONE_NEWNS):
            os._exit(9)
    if child == 0:
        for path in ("/tmp/d", "/dev/null", "/dev/urandom"):
            found = os.stat(path)
            os.write(1, b"%s %o %x\\n" % (path.encode(), found.st_mode, found.st_dev))
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(8)
"""


@pytest.mark.parametrize("how", ["clone", "unshare"])
def test_mount_namespaces_that_come_and_go(ns: Runner, how: str) -> None:
    """The kernel gives the mounts of a new one the numbers of one that is gone, to others."""
    needs_tools("python3")
    seen = ns.exec("python3", "-c", NAMESPACES, how).ok().lines
    assert len(seen) == 60
    assert len(set(seen)) == 3, set(seen)
    assert {line.split()[1] for line in seen} == {"40755", "20666"}


def test_a_process_that_is_born_into_a_mount_namespace(ns: Runner) -> None:
    """By clone(2), without an unshare(2) of its own."""
    needs_tools("python3")
    program = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None); os.mkdir('/tmp/d')\n"
        "child = libc.syscall(56, 0x20000 | 17, 0, 0, 0, 0)\n"
        "if child: sys.exit(os.waitpid(child, 0)[1])\n"
        "libc.mount(b't', b'/tmp/d', b'tmpfs', 0, None); open('/tmp/d/x', 'w').close()\n"
        "print(os.path.exists('/tmp/d/x'), flush=True); os._exit(0)\n"
    )
    assert ns.exec("python3", "-c", program).ok().text == "True\n"


def test_mounts_below_another_root(ns: Runner) -> None:
    script = (
        "mkdir -p r/proc r/sys; for d in usr bin lib lib64; do if test -L /$d; "
        "then cp -P /$d r/; else mkdir r/$d; mount --rbind /$d r/$d; fi; done; "
        "chroot r sh -ec 'mount -t proc proc /proc; mount -t sysfs none /sys; "
        "cat /proc/uptime; ls /sys/devices; umount /sys; umount /proc; ls /proc'"
    )
    inside = ns.exec("sh", "-ec", script).ok().lines
    outside = ns.exec("sh", "-ec", "cat /proc/uptime; ls /sys/devices").ok().lines
    assert inside == outside


def test_errors_of_mounts_are_the_kernels(ns: Runner) -> None:
    needs_tools("python3")
    program = (
        "import ctypes, errno; libc = ctypes.CDLL(None, use_errno=True)\n"
        "def show(result): print(errno.errorcode[ctypes.get_errno()] if result else 'ok')\n"
        "show(libc.mount(b'p', b'/missing', b'proc', 0, None))\n"
        "show(libc.mount(b's', b'/missing', b'sysfs', 0, None))\n"
        "show(libc.mount(b'p', b'/etc/passwd', b'proc', 0, None))\n"
        "show(libc.umount2(b'/missing', 0))\n"
        "show(libc.umount2(b'/proc/self', 0))\n"
        "show(libc.umount2(b'/proc', 0))\n"
    )
    lines = ns.exec("python3", "-c", program).ok().lines
    assert lines == ["ENOENT", "ENOENT", "ENOTDIR", "ENOENT", "EINVAL", "EBUSY"]


def test_who_is_not_root_mounts_nothing(ns: Runner) -> None:
    needs_tools("setpriv", "python3")
    program = (
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); "
        "print(libc.mount(b'p', b'/mnt', b'proc', 0, None), os.strerror(ctypes.get_errno()))"
    )
    drop = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups"]
    outcome = ns.exec(*drop, "python3", "-c", program).ok()
    assert outcome.lines == ["-1 Operation not permitted"]


def test_devpts_and_tmpfs(ns: Runner) -> None:
    script = (
        "mkdir /tmp/a /tmp/b; mount -t devpts -o newinstance,ptmxmode=666 devpts /tmp/a; "
        "ls /tmp/a; mount -t tmpfs -o size=1m tmpfs /tmp/b; touch /tmp/b/x; ls /tmp/b; "
        "umount /tmp/a /tmp/b; ls -A /tmp/a /tmp/b"
    )
    lines = ns.exec("sh", "-ec", script).ok().lines
    assert lines == ["ptmx", "x", "/tmp/a:", "", "/tmp/b:"]


def test_namespaces_within_the_namespaces(ns: Runner) -> None:
    script = (
        "unshare -Urpmf sh -ec 'id -u; echo $$; mkdir /tmp/x; mount -t tmpfs t /tmp/x; "
        "mount --bind /usr /tmp/x; ls /tmp/x | grep -c ^bin; touch /tmp/y'"
    )
    assert ns.exec("sh", "-ec", script).ok().lines == ["0", "1", "1"]


def test_pivot_root(ns: Runner) -> None:
    script = (
        "unshare -m sh -ec 'mkdir /tmp/r; mount --rbind / /tmp/r; cd /tmp/r; "
        "mkdir tmp/old; pivot_root . tmp/old; cd /; umount -l /tmp/old; ls -A /tmp/old; "
        "date +%s > /tmp/f; stat -c %Y /tmp/f'"
    )
    first, second = (ns.exec("sh", "-ec", script).ok() for _ in range(2))
    assert first == second


def test_root_becomes_others(ns: Runner) -> None:
    needs_tools("su", "runuser")
    script = "runuser -u nobody -- id -un"
    if ns.is_root or Path("/etc/shadow").stat().st_mode & 0o004:
        # PAM reads that file for su, and an ordinary user's container has that user's rights to it.
        script += "; su nobody -s /bin/sh -c 'id -un'"
    assert set(ns.exec("sh", "-ec", script).ok().lines) == {"nobody"}


def test_links_of_other_users_processes_lead_nowhere(root: Runner) -> None:
    """As bare: who could not trace a process may not follow its links, but look at them."""
    needs_tools("setpriv")
    script = (
        "sleep 5 & setpriv --reuid=1234 --clear-groups stat -L -c '%n %F' /proc/$!/cwd "
        "/proc/$!/exe /proc/$!/ns/mnt /proc/$!/fd/0 /proc/$!/cwd/etc /proc/$!/status 2>&1; "
        "kill $!; setpriv --reuid=1234 --regid=1234 --clear-groups sh -c 'sleep 5 & "
        'stat -L -c "%n %F" '
        "/proc/$!/cwd /proc/self/exe /proc/$$/cwd /proc/1/cwd; kill $!; "
        "stat -c %F /proc/1/cwd; stat -f -c %T /proc/1/root' 2>&1"
    )
    bare, inside = (
        re.sub(r"/proc/[0-9]+", "/proc/N", done.text)
        for done in (root.bare("sh", "-c", script), root.exec("sh", "-c", script))
    )
    assert inside == bare
    assert bare.count("Permission denied") == 7


def test_setuid_programs_make_root(root: Runner) -> None:
    needs_tools("sudo", "runuser", "su")
    script = (
        "echo 'nobody ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/x; chmod 440 /etc/sudoers.d/x; "
        "runuser -u nobody -- sudo -n id -u; runuser -u nobody -- sudo -n su -s /bin/sh daemon "
        "-c 'id -un'; runuser -u nobody -- sed -n 's/^NoNewPrivs:\\t//p' /proc/self/status"
    )
    outcome = root.exec("sh", "-ec", script)
    assert outcome.lines == ["0", "daemon", "0"], outcome


def test_set_user_id_programs_of_the_containers_own_root(ns: Runner) -> None:
    """For an ordinary user too, whose container's root owns what is made inside."""
    needs_tools("setpriv")
    script = (
        "mkdir d; chmod 755 d; cp $(command -v id) d/id; chmod 4755 d/id; cd d; "
        "setpriv --reuid=5 --regid=5 --clear-groups sh -c 'id -u; ./id -u; ./id -ru'"
    )
    assert ns.exec("sh", "-ec", script).ok().lines == ["5", "0", "5"]


def test_a_terminal_of_a_devpts_mounted_inside(ns: Runner) -> None:
    """As builders mount one in a chroot; the terminal is found by its name there."""
    needs_tools("python3")
    program = (
        "import os, sys, tty; master = os.open('/tmp/p/ptmx', os.O_RDWR | os.O_NOCTTY)\n"
        "import fcntl, struct; fcntl.ioctl(master, 0x40045431, struct.pack('i', 0))\n"
        "slave = os.open('/tmp/p/0', os.O_RDWR | os.O_NOCTTY); tty.setraw(slave)\n"
        "os.write(slave, b'through'); print(os.read(master, 7).decode(), os.isatty(slave))\n"
        "print(sorted(os.listdir('/tmp/p')), oct(os.stat('/tmp/p/0').st_mode))\n"
    )
    script = (
        "mkdir /tmp/p; mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /tmp/p; "
        'python3 -c "$0"; umount /tmp/p'
    )
    seen = ns.exec("sh", "-ec", script, program).ok().lines
    assert seen == ["through True", "['0', 'ptmx'] 0o20620"]


INNER_ROOT = """
import os, subprocess, sys
CLONE_NEWUSER = 0x10000000
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
ready, done = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    libc.unshare(CLONE_NEWUSER)
    os.write(ready[1], b"x")
    os.read(done[0], 1)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{child}/{name}", "w") as file:
        file.write(f"0 1000 1000\\n")
os.write(done[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Runs a script as root of a user namespace that has the ids from 1000 on, as unpackers do."""


def test_root_of_an_inner_namespace_may_all_with_its_own_files(ns: Runner) -> None:
    """And with no others: what belongs to the container's root stays closed."""
    needs_tools("python3")
    script = (
        "mkdir d && chown 5:6 d && chmod 700 d && mkdir d/e && touch d/e/f d/g && "
        "chown 7:7 d/e d/g && chmod 700 d/e && chmod 0 d/g && "
        "stat -c '%n %a %u:%g' d d/e d/e/f d/g; "
        "ln -s d/e l; ln -s $PWD/d m; stat -L -c %u l/. m/e/../g; ls d m/e; cat d/g; stat d/no; "
        "stat l/f/; stat /proc/self/cwd/d/e/f >/dev/null; cd d/e && stat -c %n ../g f; cd ../..; "
        "stat -c %n closed/file; ls closed; stat -c %n closed; rm -rf d && ls -A; "
        "chmod 700 /etc/passwd"
    )
    prepare = (
        "mkdir -m 1777 open; mkdir -m 700 closed; touch closed/file; cd open; ln -s ../closed; "
    )
    command = (
        "sh",
        "-c",
        f"export LC_ALL=C; d=$(mktemp -d -p /tmp); cd $d; chmod 755 .; {prepare} "
        'exec 2>&1; python3 -c "$0" "$1"; rm -r $d',
        INNER_ROOT,
        script,
    )
    seen = ns.exec(*command)
    expected = [
        "d 700 5:6",
        "d/e 700 7:7",
        "d/e/f 644 0:0",
        "d/g 0 7:7",
        "7",
        "7",
        "d:",
        "e",
        "g",
        "",
        "m/e:",
        "f",
        "stat: cannot statx 'd/no': No such file or directory",
        "stat: cannot statx 'l/f/': Not a directory",
        "../g",
        "f",
        "stat: cannot statx 'closed/file': Permission denied",
        "ls: cannot open directory 'closed': Permission denied",
        "closed",
        "closed",
        "l",
        "m",
        "chmod: changing permissions of '/etc/passwd': Operation not permitted",
    ]
    assert seen.lines == expected, seen
    if ns.is_root:
        assert ns.bare(*command).lines == expected


QUBES_V1 = """
sudo mknod probe c 1 3 -m 666; echo x > probe; rm -f probe
mkdir -p c/proc c/dev/shm c/tmp/deb c/home deb; sudo chmod 1777 c/tmp; echo package > deb/p
for d in usr bin sbin lib lib64; do
  if test -L /$d; then cp -P /$d c/; else mkdir c/$d; sudo mount --rbind /$d c/$d; fi
done
sudo cp -a /etc c/
test -r c/proc/cpuinfo || sudo mount -t proc proc c/proc
sudo mount --bind deb c/tmp/deb
sudo mount -t tmpfs shm c/dev/shm; sudo chmod 1777 c/dev/shm; sudo mknod c/dev/null c 1 3
sudo -E chroot $PWD/c groupadd -f -g 61234 v1
sudo -E chroot $PWD/c sh -c "useradd -g v1 -u 61234 -m v1; su -c 'mkdir src' - v1"
sudo chroot c sh -c "chmod 0666 /dev/null"
sudo VAR=x chroot c su v1 -c 'cd; cat /tmp/deb/p; echo $VAR; date > src/d; cat src/d
  mktemp; mktemp; echo $$; stat -c "%Y %i" src/d; cat /proc/uptime'
sudo stat -c %Y c/home/v1/src/d; date
"""
"""What qubes-builder v1 does before and while it builds, on a root made of the machine's."""


@pytest.mark.slow
def test_a_user_with_sudo_builds_in_a_chroot(root: Runner) -> None:
    """The same twice, in other circumstances; the mounts that it leaves go with the container."""
    needs_tools("sudo", "runuser", "su", "useradd", "groupadd")
    script = (
        "echo 'nobody ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/x; chmod 440 /etc/sudoers.d/x; "
        f"chown nobody .; exec runuser -u nobody -- sh -ec {quote(QUBES_V1)}"
    )
    first = root.exec("sh", "-ec", script)
    burn_pids()
    next_second(time.time())
    with load():
        second = root.exec("sh", "-ec", script)
    assert first.code == 0, first
    assert first == second
    package, variable, wrote, _, _, _, seen, _, stamp, end = first.lines
    assert (package, variable) == ("package", "x")
    assert wrote < end, "one clock for what is done in the chroot and beside it"
    assert seen.split()[0] == stamp


# Where programs lie in memory, which a set-user-ID program and setarch make random again

ADDRESS = f"env -i {interpreter()} -BS -c 'print(id(object()))'"


@pytest.mark.parametrize("hot", ["0", "1"])
def test_addresses_repeat_below_setarch(ns: Runner, hot: str) -> None:
    """A program that it starts is not in its place, but what that one starts is."""
    needs_tools("setarch")
    script = f"{ADDRESS}; setarch x86_64 sh -c {quote(ADDRESS + '; :')}; " * 2
    env = {"NSBUILD_HOTCALLS": hot}
    first, second = (ns.exec("sh", "-ec", script, env=env).ok().lines for _ in range(2))
    assert first == second
    assert len(set(first)) == 1, "not where it is without setarch"
    assert len(set(ns.bare("sh", "-ec", script).ok().lines)) == 4


def test_addresses_repeat_below_set_user_id_programs(root: Runner) -> None:
    needs_tools("sudo", "su", "runuser")
    commands = (
        f"sudo -n sh -c {quote(ADDRESS + '; :')}",
        f"su nobody -s /bin/sh -c {quote(ADDRESS + '; :')}",
        f"su nobody -s /bin/sh -c {quote('sh -c ' + quote(ADDRESS + '; :') + '; :')}",
    )
    lines = root.twice("sh", "-ec", "; ".join((ADDRESS, *commands))).ok().lines
    assert len(lines) == 4
    assert len(set(lines)) == 1


@pytest.mark.parametrize("name", ["clocks", "clocks-static", "clocks-musl", "gopure", "gocgo"])
def test_programs_of_all_kinds_go_on_after_asking(ns: Runner, name: str) -> None:
    """It is the start of the program itself that is interrupted; its clock is ours all the same."""
    needs_tools("setarch")
    needs(name, ns.has(name))
    command = [ns.guest(name), *(["libc", "0"] if name.startswith("clocks") else [])]
    asked = ns.exec("setarch", "x86_64", *command).ok()
    assert asked == ns.exec("setarch", "x86_64", *command).ok()
    assert asked.stdout
    if name.startswith("clocks"):
        assert asked == ns.exec(*command).ok()
