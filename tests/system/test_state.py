"""Builds of several calls: with --state each goes on where the one before has stopped.

A sequence of calls is run twice, in other directories, at other times and on a busy machine, and
must print the same; what is asserted beside that is what one long call would have shown.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.system.capabilities import needs, needs_tools
from tests.system.harness import (
    EPOCH,
    TIMEOUT,
    Outcome,
    Runner,
    burn_pids,
    difference,
    load,
    next_second,
)
from tests.system.leftovers import new_mark, none_marked

SHOW = "stat -c '%n %i %d %s %b %h %f %x|%y|%z|%w'"
WHO = (
    "date +%s.%N; uuidgen; od -An -N8 -tx1 /dev/urandom; sh -c 'echo $$'; sleep 9; cat /proc/uptime"
)

Act = Callable[[Path], None]


class Build:
    """Calls of one build in a directory of its own."""

    def __init__(self, ns: Runner, options: Sequence[str] = ()) -> None:
        self.ns = ns
        self.cwd = ns.directory()
        self.state = ns.directory("state-")
        self.options = options

    def call(self, script: str, env: dict[str, str] | None = None) -> Outcome:
        options = [f"--state={self.state}", *self.options]
        return self.ns.exec("sh", "-c", script, options=options, cwd=self.cwd, env=env)

    def lines(self, script: str) -> list[str]:
        return self.call(script).ok().lines

    @property
    def saved(self) -> bytes:
        return (self.state / "state.json").read_bytes()

    def on_disk(self) -> list[str]:
        """What a program outside sees of the files that were left; of its own, no times."""
        found = {path: path.lstat().st_mtime_ns for path in sorted(self.cwd.rglob("*"))}
        day = 86400 * 10**9
        return [
            f"{path.relative_to(self.cwd)} {0 if abs(time.time_ns() - mtime) < day else mtime}"
            for path, mtime in found.items()
        ]


def own(ns: Runner, path: Path) -> None:
    os.chown(path, ns.account.uid, ns.account.gid)


def put(ns: Runner, path: Path, text: str) -> None:
    """Write a file from outside, as an editor does."""
    path.write_text(text)
    own(ns, path)


def sequence(
    ns: Runner, steps: Sequence[str | Act], env: dict[str, str] | None = None
) -> list[Outcome]:
    """Run calls and edits from outside; what they printed, and what is on the disk in the end."""
    build = Build(ns)
    seen = []
    for step in steps:
        if isinstance(step, str):
            seen.append(build.call(step, env).ok())
        else:
            step(build.cwd)
    return [*seen, Outcome(0, "\n".join(build.on_disk()).encode(), b"")]


def twice(ns: Runner, *steps: str | Act) -> list[Outcome]:
    """What two runs of a sequence have in common, or the test fails."""
    first = sequence(ns, steps)
    burn_pids()
    next_second(time.time())
    with load():
        second = sequence(ns, steps)
    for one, other in zip(first, second, strict=True):
        assert one == other, difference(one, other)
    return first


def test_clock_streams_and_numbers_go_on(ns: Runner) -> None:
    calls = [seen.lines for seen in twice(ns, WHO, WHO, WHO)[:3]]
    for kind in zip(*calls, strict=True):
        assert len(set(kind)) == 3, f"said again: {kind}"
    clocks = [float(lines[0]) for lines in calls]
    assert clocks[0] == EPOCH
    assert clocks == sorted(clocks)


def test_without_a_state_every_call_starts_anew(ns: Runner) -> None:
    cwd = ns.directory()
    calls = [ns.exec("sh", "-c", WHO, cwd=cwd).ok() for _ in range(2)]
    assert calls[0] == calls[1]
    assert calls[0] == Build(ns).call(WHO), "the first call of a build is like any other"


def test_what_repeats_needs_the_state(ns: Runner) -> None:
    """The same three calls, with what they leave but without a state: times are not kept."""
    build, cwd = Build(ns), ns.directory()
    for script in ("sleep 100; echo a >a", f"{SHOW} a"):
        kept = build.call(script).ok()
        lost = ns.exec("sh", "-c", script, cwd=cwd).ok()
    assert kept != lost
    assert "2015-12-22 15:27:5" in kept.text
    assert "2015-12-22 15:26:18" in lost.text


FILES = (
    "echo a >a; mkdir -p d/e; echo b >d/b; ln -s a l; mkfifo p; touch -d 2001-02-03 old; "
    "touch -d 2030-01-01 future; touch -a -d 2002-02-02 read; ln a hard; sleep 1000; chmod 600 d/b"
)
ALL = "a d d/e d/b l p old future read hard"


def test_files_of_earlier_calls_are_as_they_were(ns: Runner) -> None:
    seen = twice(ns, f"{FILES}; {SHOW} {ALL}", f"{SHOW} {ALL} .", f"{SHOW} {ALL}; ls -lai d", WHO)
    first, second, third = (outcome.lines for outcome in seen[:3])
    assert second[: len(first)] == third[: len(first)] == first
    disk = dict(line.split() for line in seen[-1].lines)
    assert int(disk["a"]) // 10**9 == EPOCH
    assert int(disk["future"]) // 10**9 == 1893456000


def test_files_go_on_changing(ns: Runner) -> None:
    seen = twice(
        ns,
        "mkdir d; for i in 1 2 3; do echo $i >d/$i; done",
        f"echo more >>d/1; rm d/2; mv d e; chmod 755 e/3; touch n; {SHOW} e e/1 e/3 n",
        f"{SHOW} e e/1 e/3 n; find . -newer e/1 | sort; mv e/3 e/4; rm n",
        f"{SHOW} e e/4; echo new >n; {SHOW} n; date +%s",
    )
    second, third, fourth = (outcome.lines for outcome in seen[1:4])
    assert third[:4] == second
    assert third[4:] == [".", "./e", "./n"]
    assert fourth[1].split("|")[1] == second[2].split("|")[1], "renamed, so not written"
    assert fourth[1].split()[1] == second[2].split()[1]
    assert fourth[2].split()[1] != second[3].split()[1], "another file of the same name"


def test_no_file_of_an_earlier_call_is_of_the_future(ns: Runner) -> None:
    background = "(sleep 500; echo late >late) & (sleep 5; echo soon >soon); sleep 600; wait"
    *_, seen, _ = twice(ns, background, "find . -newermt @$(date +%s); cat late; date +%s")
    assert seen.lines[0] == "late"
    assert int(seen.lines[1]) > EPOCH + 500


def edit(ns: Runner, name: str, text: str) -> Act:
    return lambda cwd: put(ns, cwd / name, text)


MAKEFILE = "all: b c\nb: a\n\tcp a b\nc: b\n\tcp b c\n"


def test_make_sees_an_edit_between_two_calls(ns: Runner) -> None:
    needs_tools("make")
    seen = twice(
        ns,
        edit(ns, "Makefile", MAKEFILE),
        edit(ns, "a", "one\n"),
        "make",
        "make",
        edit(ns, "a", "two\n"),
        "make; cat c",
        "make",
        f"{SHOW} a b c; rm b",
        "make; make",
    )
    build = ["cp a b", "cp b c"]
    nothing = ["make: Nothing to be done for 'all'."]
    wanted = [build, nothing, [*build, "two"], nothing, build + nothing]
    assert [outcome.lines for outcome in (*seen[:4], seen[5])] == wanted


def test_without_a_state_make_does_not_see_it(ns: Runner) -> None:
    needs_tools("make")
    cwd = ns.directory()
    edit(ns, "Makefile", MAKEFILE)(cwd)
    edit(ns, "a", "one\n")(cwd)
    ns.exec("make", cwd=cwd).ok()
    edit(ns, "a", "two\n")(cwd)
    assert ns.exec("make", cwd=cwd).ok().lines == ["make: Nothing to be done for 'all'."]


def test_an_edit_is_of_the_pause(ns: Runner) -> None:
    """Later than all before it, earlier than all after it, and it stays so."""

    def change(cwd: Path) -> None:
        put(ns, cwd / "mine", "by hand")
        put(ns, cwd / "theirs", "by hand")
        os.utime(cwd / "restored", (10**9, 10**9))

    seen = twice(
        ns,
        edit(ns, "mine", ""),
        "echo >theirs; echo >restored; sleep 50; echo >last",
        change,
        "echo >next; ls -tr; stat -c %Y *",
        edit(ns, "log", "line"),
        "ls -tr; stat -c %Y *",
    )
    names, times = seen[1].lines[:5], [int(line) for line in seen[1].lines[5:]]
    assert names == ["restored", "last", "theirs", "mine", "next"]
    last, mine, after, restored, theirs = times
    assert restored == 10**9
    assert last < mine == theirs < after
    assert seen[2].lines[:6] == [*names, "log"]
    assert [int(line) for line in (*seen[2].lines[6:7], *seen[2].lines[8:])] == times
    assert int(seen[2].lines[7]) > after


def test_a_copy_from_outside_that_keeps_its_times(ns: Runner) -> None:
    def copy(cwd: Path) -> None:
        command = "cp -a a copy; tar cf - d | (mkdir t; tar xf - -C t)"
        subprocess.run([*ns.account.prefix, "sh", "-c", command], cwd=cwd, check=True)

    times = "stat -c %Y a d/b"
    seen = twice(
        ns, f"sleep 20; echo >a; mkdir d; echo >d/b; {times}", copy, "stat -c %Y copy t/d/b"
    )
    assert seen[0] == seen[1]


def test_an_input_stays_one(ns: Runner) -> None:
    """Made before the build and after the epoch: as old as the epoch in all of its calls."""
    seen = twice(ns, edit(ns, "a", ""), "stat -c %Y a; sleep 100", "stat -c %Y a", "stat -c %Y a")
    assert {outcome.text for outcome in seen[:3]} == {f"{EPOCH}\n"}


def test_what_another_build_left_is_an_input(ns: Runner) -> None:
    """Its times may be those of files of this build; so may those of the future be of any call."""

    def old_build(cwd: Path) -> None:
        ns.exec("sh", "-c", "for i in 1 2 3 4 5 6; do echo >old$i; done", cwd=cwd).ok()
        put(ns, cwd / "future", "")
        os.utime(cwd / "future", (4 * 10**9, 4 * 10**9))

    look = "stat -c %Y old* future; for i in 1 2 3 4 5 6; do echo >new$i; done"
    seen = twice(ns, old_build, look, look, look)
    assert {line for outcome in seen[:3] for line in outcome.lines} == {str(EPOCH)}


def test_real_times_between_virtual_ones_do_not_show(ns: Runner) -> None:
    """With an epoch of an hour ago, a fresh file's real time is one that the build might set."""
    build = Build(ns, options=[f"--epoch={int(time.time()) - 3600}"])
    put(ns, build.cwd / "input", "")
    epoch, first = build.lines("date +%s; stat -c %Y input; sleep 7200; echo >a; stat -c %Y a")[1:]
    assert int(epoch) == int(build.lines("stat -c %Y input")[0])
    again, edited = build.lines("echo >>a; stat -c %Y input; stat -c %Y a")
    assert (again, int(edited) > int(first)) == (epoch, True)


STEPS = (
    f"{FILES}; {WHO}",
    f"{SHOW} {ALL}; echo >>a; ls -lai; {WHO}",
    f"rm d/b; {SHOW} a d; for i in 1 2 3; do sh -c 'echo $$'; done; {WHO}",
)


def test_the_extension_changes_nothing(ns: Runner) -> None:
    with_it, without = (sequence(ns, STEPS, {"NSBUILD_HOTCALLS": value}) for value in "10")
    for one, other in zip(with_it, without, strict=True):
        assert one == other, difference(one, other)


def test_the_global_clock_goes_on(ns: Runner) -> None:
    build = Build(ns, options=["--clock=global"])
    clocks = [int(build.lines("sh -c 'date +%s'; date +%s")[1]) for _ in range(3)]
    assert clocks == sorted(set(clocks))


def test_a_root_of_its_own(root: Runner) -> None:
    """What is mounted below it lasts; its /tmp does not."""
    needs_tools("busybox")
    linked = subprocess.run(["ldd", "/usr/bin/busybox"], capture_output=True, check=False)
    needs("a static busybox", linked.returncode != 0 or b"statically" in linked.stdout)

    def run() -> list[Outcome]:
        target, state, volume = (root.directory() for _ in range(3))
        (target / "bin").mkdir()
        for name in ("sh", "stat", "date"):
            (target / "bin" / name).write_bytes(Path("/usr/bin/busybox").read_bytes())
            (target / "bin" / name).chmod(0o755)
        options = [f"--state={state}", "-v", f"{volume}:/v"]
        show = "stat -c '%n %i %Y %Z' /a /v/a; date"
        return [
            root.exec("/bin/sh", "-c", script, options=options, target=str(target)).ok()
            for script in (
                f"echo >/a; echo >/v/a; echo >/tmp/a; {show}",
                show,
                f"echo >>/a; {show}",
            )
        ]

    first, second = run(), run()
    assert first == second
    assert first[0].lines[:2] == first[1].lines[:2]
    assert first[2].lines[1] == first[0].lines[1]
    assert first[2].lines[0] != first[0].lines[0]


def test_the_state_lists_what_stays_and_no_more(ns: Runner) -> None:
    build = Build(ns)
    build.lines("echo >a; echo >b; echo >/tmp/c; mkdir /run/d; rm b; cat /etc/passwd >/dev/null")
    build.lines("rm a; echo >e; chmod 600 /etc/hostname 2>/dev/null; true")
    content = json.loads(build.saved)
    names = [row[-1] for row in content["files"]]
    assert names == [str(build.cwd), f"{build.cwd}/e"]
    assert (content["version"], content["calls"], content["epoch"]) == (1, 2, EPOCH)
    assert os.listdir(build.state) == ["state.json"]


def test_a_command_that_fails_has_run(ns: Runner) -> None:
    build = Build(ns)
    assert build.call("date; exit 3").code == 3
    assert build.call("kill -KILL $$").code == 128 + signal.SIGKILL
    assert json.loads(build.saved)["calls"] == 2
    assert int(build.lines("date +%s")[0]) > EPOCH + 1


def test_a_command_that_is_not_there_has_not(ns: Runner) -> None:
    missing = ns.directory() / "new/state"
    seen = ns.exec("no-such-command", options=[f"--state={missing}"])
    assert seen.code == 127
    assert not missing.exists()
    build = Build(ns)
    build.lines("true")
    before = build.saved
    assert ns.exec("no-such-command", options=[f"--state={build.state}"]).code == 127
    assert build.saved == before


def start(build: Build, script: str, mark: dict[str, str]) -> subprocess.Popen[bytes]:
    ns = build.ns
    arguments = [] if ns.is_root else ["--sched=other"]
    arguments += ["-i", f"--state={build.state}", "/", "sh", "-c", script]
    return subprocess.Popen(
        ns.command("exec", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ns.environment() | mark,
        cwd=build.cwd,
    )


def test_a_second_call_at_the_same_time_is_refused(ns: Runner) -> None:
    build = Build(ns)
    first = start(build, "echo ready; cat", new_mark())
    assert first.stdout is not None
    assert first.stdout.readline() == b"ready\n"
    seen = build.call("true")
    assert seen.code == 125
    assert f"state {build.state} is in use by another call" in seen.complaint
    first.communicate(b"", timeout=TIMEOUT)
    assert first.returncode == 0
    build.call("true").ok()


def test_a_call_that_is_killed_leaves_the_state_alone(ns: Runner) -> None:
    build, whole = Build(ns), Build(ns)
    before = build.lines("date"), build.saved
    assert before[0] == whole.lines("date")
    mark = new_mark()
    victim = start(build, "date; sleep 100; echo >half; echo ready; cat", mark)
    assert victim.stdout is not None
    assert victim.stdout.readline().startswith(b"Tue Dec 22")
    assert victim.stdout.readline() == b"ready\n"
    victim.kill()
    victim.communicate(timeout=TIMEOUT)
    assert none_marked(mark)
    assert build.saved == before[1]
    assert build.lines("date; uuidgen") == whole.lines("date; uuidgen")


def test_epoch_and_seed_belong_to_the_build(ns: Runner) -> None:
    build = Build(ns, options=["--epoch=1000000000", "--seed=5"])
    build.lines("true")
    before = build.saved
    for option, says in (
        ("--epoch=1000000001", "has the epoch 1000000000, but --epoch says 1000000001"),
        ("--seed=6", "has the seed 5, but --seed says 6"),
    ):
        seen = ns.exec("true", options=[f"--state={build.state}", option])
        assert seen.code == 125
        assert says in seen.complaint
    assert build.saved == before
    build.options = ["--step=10"]
    assert build.lines("date +%s; date +%s") == ["1000000019", "1000000029"]


def test_the_environment_names_the_state(ns: Runner) -> None:
    build = Build(ns)
    env = {"NSBUILD_STATE": str(build.state)}
    clocks = [ns.exec("date", "+%s", env=env).ok().text for _ in range(2)]
    assert clocks[0] < clocks[1]
    for options, wanted in (([], False), (["--state="], True)):
        seen = ns.exec("date", "+%s", options=options, env=env).ok()
        assert (seen.text == clocks[0]) == wanted


def spoil(state: Path) -> None:
    (state / "state.json").write_text("{")


def replace_by_file(state: Path) -> None:
    (state / "state.json").unlink(missing_ok=True)
    state.rmdir()
    state.write_text("")


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (spoil, "/state.json is not a state of nsbuild: not JSON"),
        (replace_by_file, "cannot use state"),
    ],
)
def test_what_is_no_state_is_refused(ns: Runner, act: Act, says: str) -> None:
    build = Build(ns)
    act(build.state)
    seen = build.call("true")
    assert seen.code == 125
    assert says in seen.complaint


def test_a_state_that_cannot_be_written_is_refused(user: Runner) -> None:
    build = Build(user)
    build.lines("true")
    build.state.chmod(0o555)
    seen = build.call("echo ran")
    assert (seen.code, seen.stdout) == (125, b"")
    assert "cannot write to state" in seen.complaint
    assert "Permission denied" in seen.complaint
    below = build.state / "new"
    seen = user.exec("true", options=[f"--state={below}"])
    assert "cannot make state" in seen.complaint
    build.state.chmod(0o755)


@pytest.fixture
def small_disk(root: Runner) -> Iterator[Path]:
    """A state's directory on a file system of its own that has next to no room."""
    path = root.directory("disk-")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_state_that_cannot_be_saved(root: Runner, small_disk: Path) -> None:
    build = Build(root)
    build.state = small_disk
    build.lines("true")
    before = build.saved
    seen = build.call("mkdir d; cd d; seq 1000 | xargs touch")
    assert seen.code == 125
    assert "cannot save state" in seen.complaint
    assert "No space left on device" in seen.complaint
    assert build.saved == before
    assert os.listdir(small_disk) == ["state.json"]


def test_a_read_only_file_system(root: Runner, small_disk: Path) -> None:
    build = Build(root)
    build.state = small_disk
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    seen = build.call("echo ran")
    assert (seen.code, seen.stdout) == (125, b"")
    assert f"cannot write to state {small_disk}: Read-only file system" in seen.complaint


def test_debug_says_where_it_goes_on(ns: Runner) -> None:
    build = Build(ns, options=["--debug"])
    assert f"begin a build in {build.state}".encode() in build.call("true").stderr
    assert f"go on with {build.state}: call 2".encode() in build.call("true").stderr
