"""What builders do inside: mounts, other roots, namespaces of their own, other users."""

from __future__ import annotations

import time
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


@pytest.mark.parametrize("network", ["none", "host"])
def test_a_sysfs_mounted_inside_shows_the_same_machine(ns: Runner, network: str) -> None:
    script = "mkdir /tmp/s; mount -t sysfs sysfs /tmp/s; diff -r /sys /tmp/s; umount /tmp/s"
    assert ns.exec("sh", "-ec", script, options=[f"--network={network}"]).ok().stdout == b""


def test_mounts_in_a_mount_namespace_of_its_own(ns: Runner) -> None:
    script = (
        "mkdir -p /tmp/r/proc; unshare -m sh -ec 'mount -t proc proc /tmp/r/proc; "
        "cmp /proc/uptime /tmp/r/proc/uptime; umount /tmp/r/proc'; ls -A /tmp/r/proc"
    )
    assert ns.exec("sh", "-ec", script).ok().stdout == b""


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
    script = "su nobody -s /bin/sh -c 'id -un'; runuser -u nobody -- id -un"
    assert ns.exec("sh", "-ec", script).ok().lines == ["nobody", "nobody"]


def test_setuid_programs_make_root(root: Runner) -> None:
    needs_tools("sudo", "runuser", "su")
    script = (
        "echo 'nobody ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/x; chmod 440 /etc/sudoers.d/x; "
        "runuser -u nobody -- sudo -n id -u; runuser -u nobody -- sudo -n su -s /bin/sh daemon "
        "-c 'id -un'; runuser -u nobody -- sed -n 's/^NoNewPrivs:\\t//p' /proc/self/status"
    )
    outcome = root.exec("sh", "-ec", script)
    assert outcome.lines == ["0", "daemon", "0"], outcome


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
