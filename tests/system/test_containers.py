"""Containers on record: made, run, listed, stopped and removed, as Podman does it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time

import pytest

from tests.system.containerbox import IMAGE, ContainerBox, box
from tests.system.harness import next_second
from tests.system.leftovers import marked, new_mark, none_marked, snapshot

__all__ = ["box"]

ID = re.compile(r"[0-9a-f]{64}\n")


def said(outcome: object) -> str:
    """The one line on stderr, which must be an error as Podman words them."""
    stderr: bytes = outcome.stderr  # type: ignore[attr-defined]
    lines = stderr.decode().splitlines()
    assert len(lines) == 1, outcome
    assert lines[0].startswith("Error: "), outcome
    return lines[0].removeprefix("Error: ")


# run


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143), ("nosuch", 127)],
)
def test_the_exit_code_is_the_commands(box: ContainerBox, script: str, code: int) -> None:
    assert box.run(script).code == code


def test_a_command_that_cannot_be_run(box: ContainerBox) -> None:
    missing = box("run", "--name=c", IMAGE, "nosuch")
    assert (missing.code, said(missing)[:14]) == (127, "cannot run nos")
    assert box.state("c") == "created"
    assert box("run", "--rm", IMAGE, "/etc").code == 126
    assert "nosuch" in said(box("run", "--rm", "-u", "nosuch", IMAGE, "true"))
    assert box("run", "--rm", "-w", "/nosuch", IMAGE, "true").code == 125
    assert box("run", "-d", "--name=d", IMAGE, "nosuch").code == 127
    assert box.state("d") == "created"


def test_output_goes_where_it_belongs_and_into_the_log(box: ContainerBox) -> None:
    seen = box.run("echo out; echo err >&2; printf part", ["--name=c"])
    assert (seen.stdout, seen.stderr) == (b"out\npart", b"err\n")
    assert box("logs", "c") == seen
    lines = box("logs", "-t", "c").lines
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00 out", lines[0])
    box.run("seq 3", ["--name=d"]).ok()
    assert box.ok("logs", "--tail=1", "d").text == "3\n"
    assert box("logs", "--since=2100-01-01", "c").stdout == b""
    assert box("logs", "--until=2100-01-01", "c") == seen


def test_stdin(box: ContainerBox) -> None:
    assert box.ok("run", "--rm", "-i", IMAGE, "cat", stdin=b"x" * 300_000).stdout == b"x" * 300_000
    assert box.ok("run", "--rm", IMAGE, "cat", stdin=b"lost").stdout == b""


def test_what_the_command_gets(box: ContainerBox) -> None:
    shared = box.ns.directory()
    (shared / "variables").write_text("# none\nFROM_FILE=f\n")
    options = ["--rm", "-e", "A=b", f"--env-file={shared}/variables", "-w", "/home", "-u"]
    options += ["somebody", "-h", "other", "--tmpfs=/mnt/new", f"--volume={shared}:/shared:ro,Z"]
    options += ["--mount", f"type=bind,src={shared},dst=/again", "--unsetenv=TZ"]
    script = (
        "pwd; id -un; hostname; echo $A $FROM_FILE ${TZ-none}; touch /shared/x 2>&1; ls -d /mnt/new"
    )
    if box.ns.is_root:
        shared.chmod(0o777)
    assert box.run(script, options).ok().lines == [
        "/home",
        "somebody",
        "other",
        "b f none",
        "touch: /shared/x: Read-only file system",
        "/mnt/new",
    ]


def test_entrypoint_and_command_of_the_image(box: ContainerBox) -> None:
    changes = ['ENTRYPOINT ["echo", "entry"]', 'CMD ["image"]', "ENV A=image", "WORKDIR /home"]
    changes += ["USER somebody", "STOPSIGNAL INT", "VOLUME /data", "LABEL org.nsbuild.epoch=@10"]
    box.ok("create", "--name=c", IMAGE, "true")
    box.ok("commit", *(f"--change={line}" for line in changes), "c", "second")
    assert box.ok("run", "--rm", "second").text == "entry image\n"
    assert box.ok("run", "--rm", "second", "mine").text == "entry mine\n"
    assert box.ok("run", "--rm", "--entrypoint=pwd", "second").text == "/home\n"
    assert said(box("run", "--rm", "--entrypoint=", "second")).startswith("no command or entry")
    script = "id -un; echo $A; date +%s; touch /data/x 2>&1; ls /data"
    seen = box("run", "--name=v", "--entrypoint=sh", "second", "-c", script)
    assert seen.lines == ["somebody", "image", "10", "touch: /data/x: Permission denied"]
    assert box.ok("inspect", "--format", "{{.Config.StopSignal}}", "v").text == "2\n"
    assert box.ok("run", "--rm", "--epoch=20", "--entrypoint=date", "second", "+%s").text == "20\n"


def test_copied_from_one_container_to_another(box: ContainerBox) -> None:
    made = "mkdir -p /d/e; echo text > /d/e/f; chmod 640 /d/e/f; ln -s f /d/e/l"
    box.ok("run", "--name=from", IMAGE, "sh", "-c", made)
    shown = "cd /; stat -c '%n %A %u' home/d/e/* usr/share/x/e/* etc/other; cat home/d/e/l"
    box.ok("create", "--name=to", IMAGE, "sh", "-c", shown)
    for source, target in (("/d", "/home"), ("/d/.", "/usr/share/x"), ("/d/e/f", "/etc/other")):
        assert box.ok("cp", f"from:{source}", f"to:{target}").text == ""
    assert box.ok("start", "-a", "to").lines == [
        "home/d/e/f -rw-r----- 0",
        "home/d/e/l lrwxrwxrwx 0",
        "usr/share/x/e/f -rw-r----- 0",
        "usr/share/x/e/l lrwxrwxrwx 0",
        "etc/other -rw-r----- 0",
        "text",
    ]
    assert said(box("cp", "from:/nothing", "to:/home")).startswith('"/nothing" could not be found')
    assert said(box("cp", "from:/d", "nobody:/home")) == 'container "nobody" does not exist'
    assert list((box.store / "tmp").iterdir()) == []


@pytest.mark.parametrize("option", ["--read-only=false", "--read-only", "--tmpfs=/not"])
def test_the_images_working_directory_is_made(box: ContainerBox, option: str) -> None:
    box.ok("create", "--name=c", IMAGE, "true")
    box.ok("commit", "--change=WORKDIR /not/there", "--change=CMD pwd", "c", "elsewhere")
    options = [] if option.endswith("=false") else [option]
    assert box.ok("run", "--rm", *options, "elsewhere").text == "/not/there\n"
    asked = box("run", "--rm", *options, "--workdir=/not/here", "elsewhere")
    assert said(asked) == "cannot enter working directory /not/here: No such file or directory"


@pytest.mark.parametrize(
    "verb", ["pod", "port", "restart", "healthcheck", "volume", "pause", "container port"]
)
def test_a_verb_of_podmans_is_refused_with_a_reason(box: ContainerBox, verb: str) -> None:
    outcome = box(*verb.split(), "ls")
    assert outcome.code == 125
    assert said(outcome).startswith(f"{verb.split()[-1]} is not supported: ")


def test_what_is_in_a_volume_is_no_part_of_the_container(box: ContainerBox) -> None:
    box.ok("create", "--name=c", IMAGE, "true")
    box.ok("commit", "-c", "VOLUME /usr/share", "c", "second")
    script = "ls /usr/share; echo x > /usr/share/new; echo y > /y"
    assert box.ok("run", "--name=v", "second", "sh", "-c", script).text == "words\n"
    assert box.ok("diff", "v").lines == ["A /y"]
    assert box.ok("start", "-a", "v").lines == ["new", "words"]


def test_capabilities_and_limits(box: ContainerBox) -> None:
    bounding = "grep CapBnd /proc/self/status"
    assert box.run(bounding).ok().lines == ["CapBnd:\t00000000800405fb"]
    assert box.run(bounding, ["--rm", "--cap-drop=all"]).lines == ["CapBnd:\t0000000000000000"]
    options = ["--rm", "--cap-drop=ALL", "--cap-add=CAP_KILL,chown"]
    assert box.run(bounding, options).lines == ["CapBnd:\t0000000000000021"]
    mounting = "mount -t tmpfs none /home 2>/dev/null && echo mounted || echo refused"
    assert box.run(mounting).ok().lines == ["refused"]
    assert box.run(mounting, ["--rm", "--privileged"]).ok().lines == ["mounted"]
    limits = ["--rm", "--ulimit=nofile=100:200", "--ulimit=core=0"]
    assert box.run("ulimit -n; ulimit -Hn; ulimit -c", limits).lines == ["100", "200", "0"]
    assert "unknown capability" in said(box("run", "--cap-add=fly", IMAGE, "true"))


@pytest.mark.parametrize(
    "option", ["-p=80:80", "--pod=x", "--restart=always", "--health-cmd=x", "--gpus=all", "-P"]
)
def test_what_is_not_there_is_refused(box: ContainerBox, option: str) -> None:
    seen = box("run", option, IMAGE, "true")
    assert seen.code == 125
    assert "is not supported: " in said(seen)
    assert box.left() == []


def test_a_timeout_is_in_real_time(box: ContainerBox) -> None:
    start = time.monotonic()
    assert box("run", "--rm", "--timeout=1", IMAGE, "sh", "-c", "mkfifo /f; cat /f").code == 137
    assert 1 <= time.monotonic() - start < 30


def test_names_ids_and_files_of_them(box: ContainerBox) -> None:
    where = box.ns.directory() / "cid"
    identity = box.ok("create", "--name=c", f"--cidfile={where}", IMAGE, "true").text
    assert ID.fullmatch(identity)
    assert where.read_text() == identity.strip()
    for name in ("c", identity.strip(), identity[:12], identity[:5]):
        assert box.ok("inspect", "--format={{.Id}}", name).text == identity
    assert "is already in use by" in said(box("create", "--name=c", IMAGE, "true"))
    assert "names must match" in said(box("create", "--name=a b", IMAGE, "true"))
    assert "id file exists" in said(box("create", f"--cidfile={where}", IMAGE, "true"))
    replaced = box.ok("create", "--name=c", "--replace", IMAGE, "true").text
    assert replaced != identity
    assert box.left() == [replaced.strip()]
    made = box.ok("create", IMAGE, "true").text.strip()
    assert re.fullmatch(r"/?[a-z]+_[a-z]+", box.ok("inspect", "-f={{.Name}}", made).text.strip())


# The life of a detached one


def test_a_detached_container(box: ContainerBox) -> None:
    identity = box.waiting("--name=c", "--label=a=b")
    assert ID.fullmatch(identity + "\n")
    assert box.state("c") == "running"
    assert box.ok("ps", "-q").text == identity[:12] + "\n"
    assert "cannot remove container" in said(box("rm", "c"))
    assert box("rm", "c").code == 2
    assert box.ok("stop", "c").text == "c\n"
    assert box.ok("wait", "c").text == "143\n"
    assert box.ok("ps").lines == [
        "CONTAINER ID  IMAGE       COMMAND     CREATED     STATUS      PORTS       NAMES"
    ]
    _, line = box.ok("ps", "-a").lines
    fields = re.split(r"  +", line)
    assert fields[:2] == [identity[:12], IMAGE]
    assert fields[2].startswith("sh -c ")
    assert fields[3].endswith(" ago")
    assert re.fullmatch(r"Exited \(143\) .* ago", fields[4])
    assert fields[5] == "c"
    assert box.ok("rm", "c").text == "c\n"
    assert box.left() == []
    assert said(box("rm", "c")) == 'no container with name or ID "c" found: no such container'
    assert box("rm", "c").code == 1


def test_stop_kills_whoever_does_not_listen(box: ContainerBox) -> None:
    box.waiting("--name=c", first="trap '' TERM")
    start = time.monotonic()
    box.ok("stop", "-t", "1", "c")
    assert time.monotonic() - start >= 1
    assert box.ok("wait", "c").text == "137\n"
    assert box("stop", "c").code == 0
    assert "can only kill running containers" in said(box("kill", "c"))


def test_signals_reach_the_command(box: ContainerBox) -> None:
    box.waiting("--name=c", "--stop-signal=USR1", first="trap 'echo got; exit 5' USR1 USR2")
    box.ok("kill", "-s", "USR2", "c")
    assert box.ok("wait", "c").text == "5\n"
    # The shell may complain that the opening of its pipe was interrupted.
    assert box("logs", "c").lines == ["ready", "got"]
    box.ok("rm", "c")
    box.waiting("--name=c", "--stop-signal=USR1", first="trap 'echo got; exit 6' USR1")
    box.ok("stop", "c")
    assert box.ok("wait", "c").text == "6\n"


def test_a_container_can_be_started_again(box: ContainerBox) -> None:
    box.ok("create", "--name=c", IMAGE, "sh", "-c", "echo x >> /x; cat /x; date")
    assert box.ok("start", "c").text == "c\n"
    box.ok("wait", "c")
    box.ok("start", "c")
    assert box.ok("wait", "c").text == "0\n"
    day = "Tue Dec 22 15:26:1"
    logged = [line[: len(day)] for line in box.ok("logs", "c").lines]
    assert logged == ["x", day, "x", "x", day]
    assert [line[: len(day)] for line in box.ok("start", "-a", "c").lines] == [*"xxx", day]


def test_filters_and_formats(box: ContainerBox) -> None:
    for name, label in (("first", "a=1"), ("second", "a=2"), ("third", "b")):
        box.ok("create", f"--name={name}", f"--label={label}", IMAGE, "true")
    box("run", "--name=fourth", IMAGE, "false")
    names = ("ps", "-a", "--format={{.Names}}")
    assert box.ok(*names).lines == ["first", "second", "third", "fourth"]
    assert box.ok(*names, "-f", "label=a").lines == ["first", "second"]
    assert box.ok(*names, "-f", "label=a=2").lines == ["second"]
    assert box.ok(*names, "-f", "status=exited").lines == ["fourth"]
    assert box.ok(*names, "-f", "exited=1").lines == ["fourth"]
    assert box.ok(*names, "-f", "name=ir").lines == ["first", "third"]
    assert box.ok(*names, "-n", "2").lines == ["third", "fourth"]
    assert box.ok(*names, "-l").lines == ["fourth"]
    assert box.ok(*names, "--sort=names").lines == ["first", "fourth", "second", "third"]
    assert "invalid filter" in said(box("ps", "-f", "x=y"))
    document = json.loads(box.ok("ps", "-l", "--format=json").text)
    assert document[0]["Names"] == ["fourth"]
    assert document[0]["ExitCode"] == 1
    assert document[0]["Command"] == ["false"]
    assert box.ok("container", "ls", "-aq").text == box.ok("ps", "-aq").text
    assert box.ok("container", "exists", "first").text == ""
    assert box("container", "exists", "nosuch").code == 1
    assert len(box.ok("container", "prune", "-f").lines) == 4
    assert box.left() == []


# What is left


def test_a_killed_front_is_seen(box: ContainerBox) -> None:
    box.waiting("--name=c")
    front = int(box.ok("inspect", "--format={{.State.Pid}}", "c").text)
    os.kill(front, signal.SIGKILL)
    box.until(lambda: box.state("c") == "exited")
    assert box.ok("wait", "c").text == "137\n"
    assert box.ok("start", "c").text == "c\n"
    assert box.state("c") == "running"


def test_removal_with_the_end_happens_even_so(box: ContainerBox) -> None:
    box.waiting("--name=c", "--rm")
    os.kill(int(box.ok("inspect", "--format={{.State.Pid}}", "c").text), signal.SIGKILL)
    box.until(lambda: box.ok("ps", "-aq").text == "")
    assert box.left() == []
    box.waiting("--name=c", "--rm")
    box.ok("stop", "c")
    box.until(lambda: box.left() == [])
    box.ok("rmi", IMAGE)


def test_an_image_in_use_stays(box: ContainerBox) -> None:
    box.ok("create", "--name=c", IMAGE, "true")
    assert "in use by a container" in said(box("rmi", IMAGE))
    box.ok("rm", "c")
    box.ok("rmi", IMAGE)


def test_twenty_at_once(box: ContainerBox) -> None:
    environment = box.ns.environment() | box.environment()
    command = box.ns.command("run", "--rm", IMAGE, "sh", "-c", "echo $$; date; echo x > /x; cat /x")
    started = [
        subprocess.Popen(
            command, env=environment, cwd=box.ns.directory(), stdout=-1, stderr=-1, stdin=-3
        )
        for _ in range(20)
    ]
    seen = {process.communicate(timeout=120) for process in started}
    assert {process.returncode for process in started} == {0}
    assert len(seen) == 1, "they see each other"
    box.until(lambda: box.left() == [])


@pytest.mark.slow
def test_a_hundred_leave_nothing(box: ContainerBox) -> None:
    mark = new_mark()
    box.run("true").ok()
    before = snapshot(box.store)
    for number in range(100):
        command = box.ns.command("run", "--rm", IMAGE, "sh", "-c", f"echo {number} > /x; cat /x")
        seen = box.ns.outside(command, env=box.environment() | mark)
        assert seen.ok().text == f"{number}\n"
    assert none_marked(mark), marked(mark)
    # Other programs come and go as well; what is ours lies in the store or has our name.
    ours = (path for path in snapshot(box.store) ^ before if "nsbuild" in path)
    assert [path for path in ours if "containers.sqlite" not in path] == []


def test_two_days_are_one(box: ContainerBox) -> None:
    """Detached as well: nothing of when and where a container is started gets in."""
    probe = "date; echo $$; od -An -N8 -tx1 /dev/urandom; stat -c '%n %i %Y' / /etc; env; ls -la /"
    options = ("--name=c", "--replace")
    seen = []
    for detached in (False, False, True):
        if detached:
            box.ok("run", "-d", *options, IMAGE, "sh", "-c", probe)
            box.ok("wait", "c")
            seen.append(box.ok("logs", "c").text)
        else:
            seen.append(box.run(probe, options).ok().text)
        next_second(time.time())
    assert len(set(seen)) == 1
