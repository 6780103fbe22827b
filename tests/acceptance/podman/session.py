"""The session: what people type at Podman, and where nsbuild is let say something else.

Steps build on one another, as in a terminal. `IMAGE` is the image of tests/system/containerbox.py.
What differs and may is named with the field and the reason; docs/podman.md has the table.
"""

from __future__ import annotations

from typing import NamedTuple

IMAGE = "localhost/busybox:latest"
WAIT = 'trap "exit 0" TERM; mkfifo /wait; echo ready; read x < /wait'
"""A container that stays until it is told to end, whatever its clock says."""

RUNTIME_TEXT = "stderr: the words are the OCI runtime's"
GROUP = "stdout: Podman counts a user's own group among the supplementary ones"
HINT = "stderr: a hint follows, since what stands there may be a directory"
DISK = "stdout: /proc/mounts shows one kind of disk, so that it does not tell the host's"


class Step(NamedTuple):
    """One command; `but` are the fields (code, stdout, stderr) that may differ, with reasons.

    With `unordered` the order of lines does not count. With `wait` the step is repeated until its
    output has that text.
    """

    words: tuple[str, ...]
    but: tuple[str, ...] = ()
    stdin: bytes = b""
    wait: str = ""
    unordered: bool = False


def _step(line: str, *but: str, stdin: bytes = b"", wait: str = "") -> Step:
    return Step(tuple(line.split()), but, stdin, wait)


def _shell(head: str, script: str, *but: str) -> Step:
    return Step((*head.split(), "sh", "-c", script), but)


_PS = (
    "ps -a --no-trunc --format "
    "{{.Names}}|{{.Image}}|{{.Command}}|{{.Status}}|{{.Labels}}|{{.Ports}}"
)
_INSPECT = (
    "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.Name}} {{.Path}} {{.Args}} "
    "{{.ImageName}} {{.Config.WorkingDir}} {{.Config.User}} {{.Config.Labels}} {{.Config.Tty}} "
    "{{.HostConfig.AutoRemove}} {{.HostConfig.ReadonlyRootfs}} {{.Config.StopSignal}}"
)

STEPS = (
    _step("ps"),
    _step("ps -a -q"),
    _step(f"run --rm {IMAGE} echo hi"),
    _step(f"run --rm {IMAGE} false"),
    _shell(f"run --rm {IMAGE}", "echo out; echo err >&2; exit 3"),
    _step(f"run --rm {IMAGE} nosuch", RUNTIME_TEXT),
    _step(f"run --rm {IMAGE} /etc", RUNTIME_TEXT),
    _shell(f"run --rm -e A=b -e C {IMAGE}", "echo $A ${C-none}"),
    _step(f"run --rm -w /home {IMAGE} pwd"),
    _step(f"run --rm -u somebody {IMAGE} id", GROUP),
    _step(f"run --rm -u 1000:0 {IMAGE} id -u"),
    _step(f"run --rm --entrypoint echo {IMAGE} x y"),
    _step(f"run --rm --read-only {IMAGE} touch /x"),
    _step(f"run --rm --read-only {IMAGE} touch /tmp/x"),
    _step(f"run --rm -i {IMAGE} cat", stdin=b"given\n"),
    _step(f"run --rm {IMAGE} cat", stdin=b"lost\n"),
    _shell(f"run --rm --tmpfs /mnt {IMAGE}", "grep ' /mnt ' /proc/mounts | cut -d' ' -f2,3", DISK),
    _step(f"run --rm {IMAGE} grep CapBnd /proc/self/status"),
    _step(f"run --rm --cap-drop=all {IMAGE} grep CapEff /proc/self/status"),
    _step(f"run --rm --cap-add=sys_admin {IMAGE} grep CapEff /proc/self/status"),
    _shell(f"run --rm --ulimit core=0 {IMAGE}", "ulimit -c"),
    _step(f"run --rm -h other {IMAGE} hostname"),
    Step(("run", "-d", "--name=one", "--label=a=b", IMAGE, "sh", "-c", WAIT)),
    _step("logs one", wait="ready"),
    _step("ps"),
    _step("ps -q"),
    _step("ps --noheading --filter name=on --format {{.Names}}"),
    _step("ps --filter label=a=c --format {{.Names}}"),
    _step(_PS),
    Step(("inspect", "--format", _INSPECT, "one")),
    _step(f"create --name=one {IMAGE} true"),
    _step("exec one echo hi"),
    _shell("exec one", "exit 4"),
    _shell("exec -e A=c -w /etc one", "echo $A; pwd"),
    _step("exec -u somebody one id -un"),
    _step("exec -i one cat", stdin=b"given\n"),
    _step("exec one nosuch", RUNTIME_TEXT),
    _shell("exec one", "echo new > /new; echo x >> /etc/passwd; rm /bin/yes; mkdir /a; touch /a/b"),
    Step(("diff", "one"), unordered=True),
    _step("cp one:/new -", "stdout: an archive holds times"),
    _step("cp one:/nosuch /tmp"),
    _step("rm one"),
    _step("container exists one"),
    _step("container exists nosuch"),
    _step("stop one"),
    _step("wait one"),
    _step("ps -a"),
    _step(_PS),
    Step(("inspect", "--format", _INSPECT, "one")),
    _step("kill one"),
    _step("exec one true"),
    _step("top one"),
    _step("attach one"),
    _step("stop one"),
    _step("start one"),
    _step("kill one"),
    _step("wait one"),
    _step("commit -q one made"),
    _step("run --rm made cat /new"),
    _step("rm one"),
    Step(("create", "--name=two", IMAGE, "sh", "-c", "echo from two; exit 5")),
    _step("ps -a --format {{.Names}}:{{.Status}}"),
    _step("start -a two"),
    _step("logs two"),
    _step("logs --tail 0 two"),
    _step("container ls -a --format {{.Names}}"),
    _step("rm -f two"),
    _step("rm nosuch"),
    _step("rm -f nosuch"),
    _step("logs nosuch"),
    _step("inspect nosuch"),
    _step("stop nosuch"),
    _step("start nosuch"),
    _step("kill nosuch"),
    _step("wait nosuch"),
    _step("exec nosuch true", HINT),
    _step("top nosuch"),
    _step("attach nosuch"),
    _step("commit nosuch"),
    _step("rm"),
    _step("stop"),
    _step("run --nosuch"),
    _step("ps --nosuch"),
    _step("ps --filter nosuch=x"),
    _step("container prune -f"),
    _step("ps -a -q"),
)
