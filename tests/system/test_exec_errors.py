"""Bad input: one line on stderr, the right exit code, nothing left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.system import account
from tests.system.capabilities import needs, needs_fuse_for_everybody, needs_tools
from tests.system.harness import Outcome, Runner
from tests.system.leftovers import new_mark, none_marked, snapshot


class Refusal:
    """Runs nsbuild and wants it to refuse: `code`, one line, no output, nothing left behind."""

    def __init__(self, ns: Runner) -> None:
        self.ns = ns
        self.cwd = ns.directory()

    def __call__(
        self,
        code: int,
        *argv: str,
        options: tuple[str, ...] = (),
        target: str = "/",
        within: tuple[str, ...] = (),
        says: str = "",
    ) -> Outcome:
        mark = new_mark()
        scratch = Path(self.ns.environment()["TMPDIR"])
        before = snapshot(self.cwd, scratch)
        defaults = () if self.ns.is_root else ("--sched=other",)
        command = self.ns.command("exec", *defaults, *options, target, *argv)
        seen = self.ns.outside([*within, *command], env=mark, cwd=self.cwd)
        assert seen.code == code, seen
        assert seen.stdout == b""
        assert says in seen.complaint
        assert none_marked(mark), "processes left behind"
        assert snapshot(self.cwd, scratch) == before, "something left behind"
        return seen


@pytest.fixture
def refuses(ns: Runner) -> Refusal:
    return Refusal(ns)


def test_target_does_not_exist(refuses: Refusal) -> None:
    refuses(125, "true", target="/no/such/root", says="/no/such/root")


def test_target_is_a_file(refuses: Refusal) -> None:
    refuses(125, "true", target="/etc/passwd", says="/etc/passwd")


def test_target_is_an_empty_directory(refuses: Refusal, ns: Runner) -> None:
    """There is no command in it, and it is still empty afterwards."""
    target = ns.directory("empty-")
    refuses(127, "true", target=str(target), says="true")
    assert os.listdir(target) == []


def test_target_without_proc(ns: Runner) -> None:
    """A static program can run without mount points of its own; else one line says what lacks."""
    target = ns.directory("no-proc-")
    (target / "nostart").write_bytes(Path(ns.guest("nostart")).read_bytes())
    (target / "nostart").chmod(0o755)
    seen = ns.exec("/nostart", target=str(target))
    if seen.code == 125:
        assert "/proc" in seen.complaint
    else:
        assert seen.ok().lines[0].startswith("1450797978")


def test_target_that_the_user_may_not_enter(user: Runner) -> None:
    refuses = Refusal(user)
    needs("root, to make a closed directory", os.getuid() == 0)
    closed = Path(user.directory("closed-"))
    os.chown(closed, 0, 0)
    closed.chmod(0o700)
    (closed / "root").mkdir()
    refuses(125, "true", target=str(closed / "root"), says="Permission denied")


def test_no_command(ns: Runner) -> None:
    for arguments in (["exec"], ["exec", "/"], ["exec", "--"]):
        seen = ns.outside(ns.command(*arguments))
        assert seen.code == 125, seen
        assert seen.stderr.startswith(b"nsbuild: ") or seen.stderr.startswith(b"usage: ")


def test_command_is_missing(refuses: Refusal) -> None:
    refuses(127, "no-such-command", says="no-such-command")
    refuses(127, "/no/such/command", says="/no/such/command")


def test_command_is_not_executable(refuses: Refusal) -> None:
    refuses(126, "/etc/passwd", says="/etc/passwd")


def test_command_is_a_directory(refuses: Refusal) -> None:
    refuses(126, "/etc", says="/etc")


def test_command_is_empty_name(refuses: Refusal) -> None:
    refuses(127, "")


def test_script_without_its_interpreter(refuses: Refusal) -> None:
    """The kernel says ENOENT of a file that is there, so the hint has to say why."""
    (refuses.cwd / "script").write_text("#!/no/such/interpreter\n")
    (refuses.cwd / "script").chmod(0o755)
    refuses(127, "./script", says="interpreter")


@pytest.mark.parametrize(
    "option",
    [
        *("--cpu=99", "--cpu=-1", "--cpu=x", "--seed=x", "--seed=", "--epoch=x", "--epoch=1e9"),
        *("--step=x", "--step=-1", "--monotonic-step=x", "--clock=other", "--sched=rr"),
        *("--network=bridge", "--no-such-option", "--spin-bound=x", "--user=no-such-user"),
        *("--workdir=/no/such/directory", "--volume=/no/such/source:/mnt", "--volume=relative:x"),
        *("--volume=/etc:relative", "--tmpfs=relative", "--tmpfs=/mnt:size=x"),
        *("--profile=/no/such/profile", "--machine-id=short", "--hostname=" + "x" * 65),
        *("--trace=/no/such/directory/trace", "--env==value"),
    ],
)
def test_option(refuses: Refusal, option: str) -> None:
    name, _, value = option.partition("=")
    seen = refuses(125, "true", options=(option,))
    assert name.lstrip("-") in seen.complaint or value in seen.complaint


def test_profile_with_a_syntax_error(refuses: Refusal) -> None:
    (refuses.cwd / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW",')
    refuses(125, "true", options=("--profile", "profile.json"), says="profile.json")


def test_profile_with_unknown_syscalls(refuses: Refusal) -> None:
    rule = {"names": ["no_such_call"], "action": "SCMP_ACT_NOTIFY"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    (refuses.cwd / "profile.json").write_text(json.dumps(profile))
    refuses(125, "true", options=("--profile", "profile.json"), says="no_such_call")


@pytest.mark.parametrize("content", ["[]", '{"defaultAction": "SCMP_ACT_NOPE"}', "", "{}"])
def test_profile_that_is_none(refuses: Refusal, content: str) -> None:
    (refuses.cwd / "profile.json").write_text(content)
    refuses(125, "true", options=("--profile", "profile.json"), says="profile.json")


def test_trace_on_a_full_disk(ns: Runner) -> None:
    """The command runs, its trace does not get written, and the caller is told."""
    seen = ns.exec("sh", "-c", "date >&2; exit 3", options=["--trace=/dev/full"])
    lines = seen.stderr.decode().splitlines()
    assert seen.code == 125
    assert [line for line in lines if line.startswith("nsbuild: ")] == lines[-1:]
    assert "/dev/full" in lines[-1]


def test_no_user_namespaces(refuses: Refusal, ns: Runner) -> None:
    """Where the limit of user namespaces is 0, as an administrator may set it."""
    needs_tools("unshare")
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    within = (*ns.account.prefix, "unshare", "-Ur", "sh", "-c", forbid, "sh")
    if ns.account.prefix:
        refuses.ns = Runner(account.current()._replace(uid=ns.account.uid), ns.stage)
    refuses(125, "true", options=("--sched=other",), within=within, says="user namespace")


def test_within_a_filter_that_has_a_listener(refuses: Refusal, ns: Runner) -> None:
    """The kernel allows one listener on the way from a process to init."""
    refuses(125, "true", within=(ns.guest("listener"),), says="listener")


def test_nsbuild_in_nsbuild(ns: Runner) -> None:
    outer = ns.command("exec", "--sched=other", "/", "true")[len(ns.account.prefix) :]
    search = ns.environment()["PYTHONPATH"]
    options = ["-e", f"PYTHONPATH={search}"]
    if ns.is_root:
        # The checkout may lie below /tmp, which is a fresh one inside.
        options += ["-v", f"{account.CHECKOUT}:{account.CHECKOUT}:ro"]
    seen = ns.exec(*outer, options=options)
    assert seen.code == 125
    assert "listener" in seen.complaint


def test_without_id_ranges_there_is_one_id_and_a_warning(stage: Path) -> None:
    """`nobody` has no lines in /etc/subuid."""
    needs("root, to become nobody", os.getuid() == 0)
    needs_fuse_for_everybody()
    runner = Runner(account.named("nobody"), stage)
    seen = runner.exec("id", "-u")
    assert (seen.code, seen.text) == (0, "0\n")
    assert "subuid" in seen.complaint


def test_without_cap_sys_nice_root_is_told_of_it(root: Runner) -> None:
    """As in a container; a line in limits.conf, which is for users, would not help."""
    needs_tools("setpriv")
    refuses = Refusal(root)
    within = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")
    refuses(125, "true", options=("--sched=fifo",), within=within, says="CAP_SYS_NICE")


def test_success_is_silent_and_leaves_nothing(ns: Runner) -> None:
    cwd, mark = ns.directory(), new_mark()
    scratch = Path(ns.environment()["TMPDIR"])
    before = snapshot(cwd, scratch)
    assert ns.exec("true", env=mark, cwd=cwd) == (0, b"", b"")
    assert none_marked(mark)
    assert snapshot(cwd, scratch) == before
