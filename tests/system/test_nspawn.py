"""nsbuild nspawn: the argument vectors that scripts give systemd-nspawn, its messages and codes.

The codes and texts are what systemd-nspawn 252 answered to the same words, but for those that name
an option which only that one has a use for.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import Outcome, Runner, burn_pids, load, next_second
from tests.system.terminal import Terminal

APPLETS = "cat date env hostname id kill ls mount od pwd readlink sh stat touch tty uname wc"
CHANGING = (
    "date; od -An -tx1 -N8 /dev/urandom; echo $$; cat /proc/uptime; touch /tmp/f; "
    "stat -c '%Y %i' /tmp/f; env"
)


class Box:
    """A small root of the account's own, and `nsbuild nspawn` on it."""

    def __init__(self, ns: Runner) -> None:
        self.ns = ns
        self.path = ns.directory("box-")
        (self.path / "usr/bin").mkdir(parents=True)
        for name in ["dev", "etc", "home", "mnt", "proc", "run", "sys", "tmp"]:
            (self.path / name).mkdir()
        (self.path / "bin").symlink_to("usr/bin")
        shutil.copy(shutil.which("busybox") or "busybox", self.path / "usr/bin/busybox")
        for applet in APPLETS.split():
            (self.path / "usr/bin" / applet).symlink_to("busybox")
        (self.path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nu:x:7:8::/home:/bin/sh\n")
        (self.path / "etc/group").write_text("root:x:0:\ng:x:8:\n")
        for path in (self.path, *self.path.rglob("*")):
            os.chown(path, ns.account.uid, ns.account.gid, follow_symlinks=False)

    def environment(self) -> dict[str, str]:
        """Whoever has no SCHED_FIFO would be warned."""
        return {} if self.ns.is_root else {"NSBUILD_SCHED": "other"}

    def run(
        self,
        *arguments: str,
        options: Sequence[str] = (),
        stdin: bytes = b"",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> Outcome:
        """`nsbuild nspawn -q -D BOX OPTIONS ARGUMENTS`."""
        command = self.ns.command("nspawn", "-q", "-D", str(self.path), *options, *arguments)
        return self.ns.outside(command, stdin, self.environment() | (env or {}), cwd)


@pytest.fixture
def box(ns: Runner) -> Box:
    needs_tools("busybox")
    return Box(ns)


def test_twice_the_same(box: Box) -> None:
    first = box.run("sh", "-c", CHANGING)
    bare = box.ns.bare("sh", "-c", CHANGING)
    burn_pids()
    next_second(time.time())
    with load():
        second = box.run("sh", "-c", CHANGING, cwd=Path("/"))
    assert first.ok() == second
    assert first.lines[0] == "Tue Dec 22 15:26:18 UTC 2015"
    assert bare != box.ns.bare("sh", "-c", CHANGING)


def test_the_arguments_of_qubes_builder(box: Box) -> None:
    """Those of its scripts for Arch Linux and for templates."""
    source = box.ns.directory("packages-")
    (source / "file").write_text("from the host\n")
    seen = box.run(
        *("sh", "-c", "id -un; pwd; echo $A $B; cat /tmp/q/file; hostname"),
        options=[
            *(f"--directory={box.path}", f"--bind={source}:/tmp/q", f"--bind-ro={source}:/mnt"),
            *("--keep-unit", "--register=no", "--user=u", "--setenv=A=a b", "--setenv", "B=c"),
            *("--chdir=/home", "-M", "bookworm"),
        ],
    )
    assert seen.ok().lines == ["u", "/home", "a b c", "from the host", "bookworm"]


def test_what_the_command_finds(box: Box) -> None:
    script = "echo $$; echo $container $container_uuid $HOME $USER; env | grep -c ^SOURCE_DATE"
    assert box.run("sh", "-c", script).lines == [
        "2",
        "systemd-nspawn 6e736275-696c-6400-0000-00000000ab1e /root root",
        "0",
    ]
    uuid = "0123456789abcdef0123456789abcdef"
    (box.path / "etc/machine-id").write_text("other\n")
    said = box.run(
        "sh", "-c", "cat /etc/machine-id; echo $container_uuid", options=["--uuid", uuid]
    )
    assert said.ok().lines == [uuid, "01234567-89ab-cdef-0123-456789abcdef"]
    assert (box.path / "etc/machine-id").read_text() == "other\n"


def test_what_is_written_stays(box: Box) -> None:
    assert box.run("sh", "-c", "echo x > /kept; echo x > /tmp/lost").code == 0
    assert (box.path / "kept").read_text() == "x\n"
    assert not (box.path / "tmp/lost").exists()
    seen = box.run("sh", "-c", "touch /no; touch /tmp/yes && ls /tmp", options=["--read-only"])
    assert (seen.stdout, b"Read-only file system" in seen.stderr) == (b"yes\n", True)


def test_mounts(box: Box) -> None:
    source = box.ns.directory("with:colon-")
    (source / "file").write_text("text\n")
    escaped = str(source).replace(":", "\\:")
    options = [f"--bind-ro={escaped}", "--tmpfs=/mnt:mode=0700", "--tmpfs=/home"]
    script = (
        f"cat {source}/file; touch {source}/new; stat -c '%a %A' /mnt /home; stat -f -c %T /mnt"
    )
    seen = box.run("sh", "-c", script, options=options)
    assert seen.lines[:3] == ["text", "700 drwx------", "755 drwxr-xr-x"]
    assert b"Read-only file system" in seen.stderr


def test_the_network(box: Box) -> None:
    links = box.run("ls", "/sys/class/net", options=["--private-network"])
    shown = box.run("cat", "/proc/net/dev", options=["--private-network"]).ok()
    assert links.code == 0
    assert len(shown.lines) == 3
    assert shown.lines[2].strip().startswith("lo:")
    outside = Path("/proc/net/dev").read_text().splitlines()
    assert len(box.run("cat", "/proc/net/dev").ok().lines) == len(outside)


def test_resolv_conf(box: Box) -> None:
    own = box.path / "etc/resolv.conf"
    own.write_text("# its own\n")
    show = ("cat", "/etc/resolv.conf")
    assert box.run(*show, options=["--resolv-conf=off"]).text == "# its own\n"
    if os.path.exists("/etc/resolv.conf"):
        assert box.run(*show).text == Path("/etc/resolv.conf").read_text()
    assert own.read_text() == "# its own\n"


def test_stdin_comes_in_by_a_pipe_only(box: Box) -> None:
    assert box.run("cat", options=["--pipe"], stdin=b"in").stdout == b"in"
    assert box.run("cat", options=["-P"], stdin=b"in").stdout == b"in"
    assert box.run("cat", options=["--console=autopipe"], stdin=b"in").stdout == b"in"
    assert box.run("cat", stdin=b"in").stdout == b""


def test_without_a_command_a_login_shell(box: Box) -> None:
    seen = box.run(options=["-P"], stdin=b"echo $0 $HOME; pwd; exit 4\n")
    # /root does not exist in the box.
    assert (seen.code, seen.lines) == (4, ["/bin/sh /root", "/"])


def test_a_terminal(box: Box) -> None:
    command = " ".join(
        box.ns.command("nspawn", "-q", "-D", str(box.path), "sh", "-c", "'tty; read x'")
    )
    environment = box.ns.environment() | box.environment()
    with Terminal(["sh", "-c", f"{command}; echo code $?"], environment, "/") as terminal:
        terminal.expect("/dev/pts/0")
        terminal.send("word\n")
        terminal.expect("code 0")


@pytest.mark.parametrize(
    ("script", "code", "end"),
    [
        ("exit 0", 0, "exited successfully"),
        ("exit 3", 3, "failed with error code 3"),
        ("kill -9 $$", 255, "failed with error code 255"),
    ],
)
def test_status_lines_and_codes(box: Box, script: str, code: int, end: str) -> None:
    command = box.ns.command("nspawn", "-M", "name", "-D", str(box.path), "sh", "-c", script)
    seen = box.ns.outside(command, env=box.environment())
    assert seen.code == code
    assert seen.stderr.decode().splitlines() == [
        f"Spawning container name on {box.path}.",
        f"Container name {end}.",
    ]
    quiet = box.run("sh", "-c", script)
    assert (quiet.code, quiet.stderr) == (code, b"")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nosuch", "execv(nosuch) failed: No such file or directory"),
        ("/etc/passwd", "execv(/etc/passwd) failed: Permission denied"),
        ("--chdir=/nosuch pwd", "Failed to change to specified working directory /nosuch: No such"),
        ("--chdir=home pwd", "Working directory home is not an absolute path."),
        ("-D /no/such true", "Failed to resolve path /no/such: No such file or directory"),
        ("-D /dev true", "Directory /dev doesn't look like it has an OS tree (/usr/ directory is"),
        ("-D / true", "Spawning container on root directory is not supported."),
        ("--machine=a/b true", "Invalid machine name: a/b"),
        ("--hostname=a/b true", "Invalid hostname: a/b"),
        ("--uuid=7 true", "Invalid UUID: 7"),
        ("-E =x true", "Cannot assign environment variable =x: Invalid argument"),
        ("--bind=/usr:rel true", "Failed to parse --bind(-ro)= argument /usr:rel"),
        ("--bind=/usr:/a:norbind true", "Failed to parse --bind(-ro)= argument /usr:/a:norbind: "),
        ("--bind=/no/such true", "cannot bind '/no/such' on /no/such: No such file or directory"),
        ("--tmpfs=rel true", "Failed to parse --tmpfs= argument rel"),
        ("--console=passive true", "Unknown console mode: passive"),
        ("--bogus true", "unrecognized option '--bogus'"),
        ("-Y true", "invalid option -- 'Y'"),
        ("-qu", "option requires an argument -- 'u'"),
        ("--user", "option '--user' requires an argument"),
        ("--quiet=yes true", "option '--quiet' doesn't allow an argument"),
        ("-u nosuch true", "no user 'nosuch' in the container"),
        ("-x true", "--ephemeral is not supported: "),
        ("-b", "--boot is not supported: "),
        ("-U true", "--private-users=pick is not supported: "),
        ("--private-users true", "--private-users is not supported: "),
        ("--register=yes true", "--register=yes is not supported: "),
        ("--resolv-conf=copy-host true", "--resolv-conf=copy-host is not supported: "),
        ("--network-veth true", "--network-veth is not supported: "),
        ("--overlay=/a:/b:/c true", "--overlay is not supported: "),
        ("--capability=all true", "--capability is not supported: "),
        ("--seed=x true", "--seed 'x': not a number"),
    ],
)
def test_what_it_refuses_is_a_line(box: Box, words: str, said: str) -> None:
    """With systemd-nspawn's exit status for all that is wrong."""
    before = sorted(path.name for path in box.path.iterdir())
    seen = box.run(options=words.split())
    lines = seen.stderr.decode().splitlines()
    assert (seen.code, seen.stdout, len(lines)) == (1, b"", 1), seen
    assert lines[0].startswith(f"systemd-nspawn: {said}"), seen
    assert sorted(path.name for path in box.path.iterdir()) == before


def test_options_that_ask_for_what_is_done_anyway(box: Box) -> None:
    options = (
        "-a -j --no-pager --settings=false --private-users=identity --timezone=off "
        "--private-users-ownership=auto --volatile=no --no-new-privileges=0 --suppress-sync=no "
        "--notify-ready=n --link-journal=auto --personality=x86-64 --reg=off"
    )
    assert box.run("sh", "-c", "echo fine", options=options.split()).ok().text == "fine\n"


def test_options_of_nsbuild(box: Box) -> None:
    script = ("sh", "-c", "date +%F; od -An -tx1 -N8 /dev/urandom")
    named = box.run(*script, options=["--epoch=2025-01-01", "--seed", "7"]).ok()
    assert named.lines[0] == "2025-01-01"
    assert box.run(*script, env={"NSBUILD_EPOCH": "2025-01-01", "NSBUILD_SEED": "7"}) == named
    assert box.run(*script, options=["--epoch=2025-01-01"]).lines[1] != named.lines[1]


def test_help_and_version(ns: Runner) -> None:
    from nsbuild.cli.nspawnoptions import THEIRS

    shown = ns.outside(ns.command("nspawn", "--help")).ok().text
    assert {"directory", "bind-ro", "pipe"} <= {name for name in THEIRS if f"--{name}" in shown}
    assert (
        ns.outside(ns.command("nspawn", "-q", "--vers", "x"))
        .ok()
        .text.startswith("systemd-nspawn (nsbuild) ")
    )


def test_it_goes_by_its_name(box: Box) -> None:
    script = box.ns.directory() / "systemd-nspawn"
    script.write_text("from nsbuild.cli import main\nmain()\n")
    python = box.ns.command()[: -len(("-m", "nsbuild"))]
    command = [*python, str(script), "-qD", str(box.path), "--", "sh", "-c", "echo $container"]
    assert box.ns.outside(command, env=box.environment()).ok().text == "systemd-nspawn\n"
