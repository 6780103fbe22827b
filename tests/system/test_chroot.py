"""nsbuild chroot: what repeats, what it keeps of its caller's, and that nothing is left of it.

tests/acceptance/test_chroot_differential.py compares it with the machine's own chroot.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.system import chroots
from tests.system.account import interpreter
from tests.system.capabilities import needs, needs_tools
from tests.system.chroots import Roots, Seen, ours, real, run
from tests.system.harness import TIMEOUT, Runner, burn_pids, load, next_second
from tests.system.leftovers import new_mark, none_marked, snapshot
from tests.system.terminal import Terminal

CHANGING = "date; od -An -tx1 -N8 /dev/urandom; echo $$; mktemp; cat /proc/sys/kernel/random/uuid; "
CHANGING += "cat /proc/uptime; touch /tmp/f; stat -c '%Y %i %d' /tmp/f; uname -a; rm /tmp/*"
DEVICES = ["full", "null", "random", "tty", "urandom", "zero"]
FIRST = b"Tue Dec 22 15:26:18 UTC 2015\n"


@pytest.fixture(scope="module")
def roots() -> Iterator[Roots]:
    needs("root", os.getuid() == 0)
    needs_tools("busybox", "ldd")
    with chroots.standing() as standing:
        yield standing


@pytest.fixture
def box(roots: Roots) -> str:
    return str(roots.box)


def test_twice_the_same(box: str) -> None:
    """The same guest at another time, among other processes; the real chroot gives another each."""
    arguments = (box, "sh", "-c", CHANGING)
    first = run(ours(*arguments))
    bare = run(real(*arguments))
    burn_pids()
    next_second(time.time())
    with load():
        second = run(ours(*arguments), cwd=Path("/tmp"))
    assert first.code == 0
    assert first.stderr == b""
    assert first.stdout.startswith(FIRST)
    assert first == second
    again = run(real(*arguments))
    lines = zip(bare.stdout.splitlines(), again.stdout.splitlines(), strict=True)
    assert sum(old != new for old, new in lines) >= 5, (bare, again)


def test_what_one_call_writes_the_next_one_reads_twice_the_same(box: str) -> None:
    """Calls that build on each other, as those of a build do: files, then an archive of them."""

    def build() -> Seen:
        for script in ("mkdir /tmp/t", "date > /tmp/t/a", "sleep 1; mktemp -p /tmp/t"):
            assert run(ours(box, "sh", "-c", script)).code == 0
        seen = run(ours(box, "sh", "-c", "ls -lR --full-time /tmp; rm -r /tmp/t"))
        assert seen.code == 0
        return seen

    first = build()
    next_second(time.time())
    assert build() == first


NINE_CALLS = (
    "mkdir /tmp/t",
    "date > /tmp/t/a; od -An -tx1 -N4 /dev/urandom > /tmp/t/random",
    "mktemp -p /tmp/t",
    "mktemp -p /tmp/t",
    "cp -p /tmp/t/a /tmp/t/copy; date >> /tmp/t/a",
    "sh -c 'echo $$' > /tmp/t/number",
    "od -An -tx1 -N4 /dev/urandom >> /tmp/t/random",
    "test /tmp/t/a -nt /tmp/t/copy && touch /tmp/t/later",
    "cd /tmp/t; ls -li --full-time; date; cat a random number",
)


def test_nine_calls_are_one_build(roots: Roots) -> None:
    """With a state in common the clock goes on from call to call, twice in the same way."""

    def build(program: Callable[..., list[str]], env: Mapping[str, str]) -> tuple[int, bytes]:
        codes = 0
        for script in NINE_CALLS:
            seen = run(program(str(roots.box), "sh", "-c", script), env=env)
            codes += seen.code
        shutil.rmtree(roots.box / "tmp/t")
        return codes, seen.stdout

    first = build(ours, {"NSBUILD_STATE": str(roots.top / "first")})
    burn_pids()
    next_second(time.time())
    assert build(ours, {"NSBUILD_STATE": str(roots.top / "second")}) == first
    assert first[0] == 0
    # Without one the clock and the random stream begin anew with each call.
    assert build(ours, {})[0] > 0
    bare = build(real, {})
    next_second(time.time())
    assert build(real, {})[1] != bare[1]


def test_options_come_from_the_environment(box: str) -> None:
    wish = {"NSBUILD_EPOCH": "2025-01-01", "NSBUILD_SEED": "7", "NSBUILD_STEP": "10"}
    script = (box, "sh", "-c", "date +%F; date +%s; od -An -tx1 -N8 /dev/urandom; uname -n")
    named = run(ours(*script), env={**wish, "NSBUILD_HOSTNAME": "other"})
    assert named.stdout.splitlines()[0] == b"2025-01-01"
    assert named.stdout.splitlines()[3] == b"other"
    options = ["--epoch=2025-01-01", "--seed", "7", "--step=10", "--hostname=other"]
    assert run(ours(*options, *script), env={"NSBUILD_SEED": "8"}) == named
    assert run(ours(*script)).stdout.splitlines()[2] != named.stdout.splitlines()[2]


def test_a_bad_value_is_one_line(box: str) -> None:
    for variable, value in (("SEED", "x"), ("EPOCH", "soon"), ("CLOCK", "y"), ("CPU", "9999")):
        seen = run(ours(box, "true"), env={f"NSBUILD_{variable}": value})
        assert seen.code == 125
        assert seen.stderr.startswith(b"chroot: ")
        assert value.encode() in seen.stderr
        assert seen.stderr.count(b"\n") == 1


def test_options_come_from_the_file(box: str, tmp_path: Path) -> None:
    needs_tools("unshare")
    file = tmp_path / "nsbuild.toml"
    place = tmp_path / "overlay"
    place.mkdir()
    script = 'mount -t tmpfs none "$1" && mkdir "$1/u" "$1/w" && mount -t overlay '
    script += '-o "lowerdir=/etc,upperdir=$1/u,workdir=$1/w" none /etc && '
    script += 'cp "$0" /etc/nsbuild.toml && shift && exec "$@"'
    around = ["unshare", "-m", "sh", "-c", script, str(file), str(place)]
    file.write_text("epoch = 2030-05-06T07:08:09Z\n")
    seen = run([*around, *ours(box, "date")])
    assert seen == (0, b"Mon May  6 07:08:09 UTC 2030\n", b"")
    file.write_text("epoche = 1\n")
    seen = run([*around, *ours(box, "date")])
    assert seen.code == 125
    assert seen.stderr.startswith(b"chroot: /etc/nsbuild.toml: unknown key 'epoche' (there is: ")
    assert seen.stderr.count(b"\n") == 1


def test_it_goes_by_its_name(box: str, tmp_path: Path) -> None:
    script = tmp_path / "nsbuild"
    script.write_text("from nsbuild.cli import main\nmain()\n")
    link = tmp_path / "chroot"
    link.symlink_to(script)
    python = ours()[0]
    assert run([python, str(link), box, "date"]) == (0, FIRST, b"")
    assert run([python, str(script), "chroot", box, "date"]) == (0, FIRST, b"")
    assert run([python, str(script), box, "date"]).code == 125


def test_nine_calls_leave_nothing(roots: Roots) -> None:
    """As many as a build makes, each with processes that it leaves behind; then umount works."""
    root = roots.top / "mounted"
    root.mkdir()
    mark = new_mark()
    with chroots.mounted("-t", "tmpfs", "none", str(root)):
        subprocess.run(["cp", "-ax", f"{roots.box}/.", str(root)], check=True, timeout=TIMEOUT)
        (root / "tmp/repository").mkdir()
        before = snapshot()
        for _ in range(9):
            with chroots.mounted("--bind", str(roots.libs), f"{root}/tmp/repository"):
                script = "test -x /tmp/repository/bin/bash && (sleep 1000 &); "
                script += "(tail -f /etc/data > /dev/null &)"
                seen = run(
                    ours(str(root), "sh", "-c", f"{script}; echo $((1+1)) >> /tmp/log"), env=mark
                )
                assert seen == (0, b"", b"")
            assert snapshot() == before
            assert none_marked(mark, seconds=0), "a process is left"
        assert (root / "tmp/log").read_text() == "2\n" * 9
    root.rmdir()


def test_the_root_can_be_unmounted_at_once(roots: Roots) -> None:
    """umount(8) in the moment that the call returns; EBUSY would say that somebody holds it."""
    root = roots.top / "brief"
    root.mkdir()
    for _ in range(3):
        with chroots.mounted("--bind", str(roots.box), str(root)):
            assert run(ours(str(root), "sh", "-c", "sleep 1000 & echo x > /tmp/kept")).code == 0
    assert (roots.box / "tmp/kept").read_text() == "x\n"
    (roots.box / "tmp/kept").unlink()
    root.rmdir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_at_any_moment(box: str, number: signal.Signals) -> None:
    """The caller sees the signal's end as of the real chroot, and nothing is left."""
    before = snapshot()
    for delay in (0.01, 0.03, 0.05, 0.07, 0.09, 0.11, 0.13, 0.16, 0.2, 0.3, 0.5):
        mark = new_mark()
        with subprocess.Popen(
            ours(box, "cat"),
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=chroots.environment(mark),
        ) as process:
            time.sleep(delay)
            process.send_signal(number)
            # Python, while it starts, ends with 1 on SIGINT.
            codes = {-number, 1} if number == signal.SIGINT and delay < 0.3 else {-number}
            assert process.wait(TIMEOUT) in codes, delay
        assert none_marked(mark)
        assert snapshot() == before


def test_a_command_that_takes_the_signal(box: str) -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do cat; done"
    with subprocess.Popen(
        ours(box, "sh", "-c", script),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=chroots.environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        subprocess.run(["sleep", "0.2"], check=True, timeout=TIMEOUT)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(TIMEOUT) == 9
        assert process.stdout.read() == b"caught\n"


def test_killed_outright(box: str) -> None:
    before = snapshot()
    mark = new_mark()
    with subprocess.Popen(
        ours(box, "cat"), stdin=subprocess.PIPE, env=chroots.environment(mark)
    ) as process:
        time.sleep(0.5)
        process.kill()
        assert process.wait(TIMEOUT) == -signal.SIGKILL
        assert none_marked(mark)
    assert snapshot() == before


def test_a_disk_that_fills_up(roots: Roots) -> None:
    root = roots.top / "small"
    root.mkdir()
    script = "dd if=/dev/zero of=/tmp/big bs=4096 count=9999 2>&1; echo $?; "
    script += "echo more > /tmp/more; echo $?; rm /tmp/big; echo fits > /tmp/more && cat /tmp/more"
    seen = []
    for command in (real, ours):
        with chroots.mounted("-t", "tmpfs", "-o", "size=4m", "none", str(root)):
            subprocess.run(["cp", "-ax", f"{roots.box}/.", str(root)], check=True, timeout=TIMEOUT)
            result = run(command(str(root), "sh", "-c", script))
            seen.append([line for line in result.stdout.splitlines() if b"copied" not in line])
            assert result.code == 0
    assert seen[0] == seen[1]
    assert any(b"No space left" in line for line in seen[0])


def test_inherited_descriptors(box: str, tmp_path: Path) -> None:
    """As make's job server has them, and as a script feeds a key."""
    (tmp_path / "file").write_text("through a descriptor")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        command = ours(box, "sh", "-c", f"cat <&{fd}; ls /proc/self/fd | wc -l")
        os.set_inheritable(fd, True)
        seen = run(command, pass_fds=(fd,))
    finally:
        os.close(fd)
    assert seen == (0, b"through a descriptor5\n", b"")


def test_nested_it_is_a_plain_chroot(ns: Runner, roots: Roots) -> None:
    """Under the outer supervisor; for an ordinary user too, who is root inside. Silent."""
    nested = [interpreter(), "-m", "nsbuild", "chroot", str(roots.bare), "/busybox", "date"]
    names = [f"--env=PYTHONPATH={ns.stage}/src:{ns.stage}/modules"]
    seen = ns.exec(*nested, options=names)
    assert seen.ok().text.startswith("Tue Dec 22 15:")
    assert ns.exec(*nested, options=names) == seen
    missing = ns.exec(*nested[:-3], "/no/such", options=names)
    assert missing.code == 125
    assert missing.stderr == (
        b"chroot: cannot change root directory to '/no/such': No such file or directory\n"
    )
    told = ns.exec(*nested, options=[*names, "--env=NSBUILD_DEBUG=1"])
    assert told.code == 0
    assert b"plain chroot" in told.stderr
    user = ns.exec(*nested[:-3], "--userspec=0:0", *nested[-3:], options=names)
    assert user == seen


def test_nested_in_itself(box: str) -> None:
    inner = ours(box, "sh", "-c", "date; echo $$; exit 3")
    assert run(ours("/", *inner)).code == 3
    assert run(ours("/", *inner)) == run(ours("/", *inner))


def test_without_fuse_nothing_random_is_let_in(roots: Roots) -> None:
    """One line and 125, because a device cannot be taken away from a root that is to stay."""
    needs_tools("unshare")
    script = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"'
    around = ["unshare", "-m", "sh", "-c", script, "sh"]
    seen = run([*around, *ours(str(roots.box), "true")])
    assert seen.code == 125
    assert seen.stderr == (
        b"chroot: cannot serve /dev/random: no /dev/fuse here "
        b"(as root: modprobe fuse; chmod 0666 /dev/fuse)\n"
    )
    assert run([*around, *ours(str(roots.bare), "/busybox", "echo", "fine")]).code == 0
    assert sorted(os.listdir(roots.box / "dev")) == DEVICES


def test_root_without_its_rights(box: str) -> None:
    """As in a container engine's container: a user namespace, in which ids keep their numbers."""
    needs_tools("setpriv")
    less = ["setpriv", "--groups=0,5", "setpriv", "--bounding-set=-sys_admin"]
    seen = run([*less, *ours("--userspec=local", box, "id")])
    assert seen == run([*less, *real("--userspec=local", box, "id")])
    assert run([*less, *ours(box, "id")]) == run([*less, *real(box, "id")])


def test_a_user_who_may_change_the_root(box: str) -> None:
    needs_tools("setpriv")
    able = ["setpriv", "--reuid=65534", "--inh-caps=+sys_chroot", "--ambient-caps=+sys_chroot"]
    assert run([*able, *real(box, "true")]).code == 0
    seen = run([*able, *ours(box, "true")])
    assert seen.code == 125
    assert seen.stderr.startswith(b"chroot: cannot make a container in which all users keep")


def test_debug_shows_the_steps(box: str) -> None:
    seen = run(ours("--debug", box, "true"))
    assert seen.code == 0
    assert f"nsbuild: take {box} as the root\n".encode() in seen.stderr
    assert run(ours(box, "true"), env={"NSBUILD_DEBUG": "1"}).stderr == seen.stderr
    assert run(ours(box, "true"), env={"NSBUILD_DEBUG": "0"}).stderr == b""


def test_help_and_version(roots: Roots) -> None:
    seen = run(ours("--help"))
    assert seen.code == 0
    for option in ("--groups", "--userspec", "--skip-chdir", "--help", "--version"):
        assert option in seen.stdout.decode()
    version = run(ours("--vers"))
    assert version.code == 0
    assert version.stdout.startswith(b"chroot (nsbuild) ")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            ours("--help"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=chroots.environment(),
            timeout=TIMEOUT,
            check=False,
        )
    assert done.returncode == 125
    assert done.stderr == b"chroot: write error: No space left on device\n"


def test_an_interactive_shell_has_the_terminal(roots: Roots) -> None:
    """Job control works in the caller's own terminal, and the caller has it back afterwards."""
    shell = " ".join(ours(str(roots.libs), "/bin/bash", "--norc", "-i"))
    script = f'{shell}; echo "code $?"; read x; echo "got $x"'
    with Terminal(["sh", "-c", script], chroots.environment(), "/") as terminal:
        terminal.send("PS1=ready-; tput=; echo $((40+2))\n")
        terminal.expect("\n42")
        terminal.send("echo c$((40+3)); cat\n")
        terminal.expect("\nc43")
        time.sleep(0.5)
        terminal.send("typed\n")
        terminal.expect("typed\r\ntyped")
        terminal.send("\x03")
        terminal.expect("\nready-")
        terminal.send("echo $?; [ -t 0 ] && echo on a terminal\n")
        terminal.expect("\n130")
        terminal.expect("\non a terminal")
        terminal.send("cat & jobs; kill %1; exit 7\n")
        terminal.expect("\ncode 7")
        terminal.send("again\n")
        terminal.expect("got again")
        assert terminal.wait() == 0


def test_control_c_while_it_starts(box: str) -> None:
    """Whoever is to become the command keeps the terminal's signals until it is executed."""
    for delay in (0.05, 0.1, 0.15, 0.2):
        with Terminal(
            ["sh", "-c", f"trap : INT; echo begun; {' '.join(ours(box, 'cat'))}; echo code $?"],
            chroots.environment(),
            "/",
        ) as terminal:
            # A shell that has not come to its trap yet would die of it.
            terminal.expect(r"begun\r\n")
            time.sleep(delay)
            terminal.send("\x03")
            terminal.expect(r"code (130|1)\r")


def _await_the_supervisor_of(front: int) -> None:
    children = Path(f"/proc/{front}/task/{front}/children")
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text() == "nsbuild-super\n":
                    return
    raise AssertionError(f"process {front} has no supervisor")


def test_control_c_that_is_handled_late(box: str) -> None:
    """The front process may get to a signal when the command, which was not there, runs already."""
    with Terminal(ours(box, "sh", "-c", "echo ready; cat"), chroots.environment(), "/") as terminal:
        front = terminal.process.pid
        _await_the_supervisor_of(front)
        os.kill(front, signal.SIGSTOP)
        terminal.send("\x03")
        time.sleep(1)
        os.kill(front, signal.SIGCONT)
        assert terminal.wait() == -signal.SIGINT
        assert b"ready" not in terminal.seen


def test_the_terminal_has_its_name() -> None:
    """What tty(1) compares: the link in /proc and both files' device, number and kind."""
    needs("root", os.getuid() == 0)
    for command in (ours("/", "tty"), real("/", "tty")):
        with Terminal(command, chroots.environment(), "/") as terminal:
            terminal.expect("/dev/pts/[0-9]+\r\n")
            assert terminal.wait() == 0


def test_a_signal_to_nsbuild_before_the_command_is_there(box: str) -> None:
    """It is the command's, which dies of it, whoever of us it came to first."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        with subprocess.Popen(ours(box, "cat"), stdin=subprocess.PIPE) as process:
            _await_the_supervisor_of(process.pid)
            process.send_signal(number)
            assert process.wait(30) == -number
