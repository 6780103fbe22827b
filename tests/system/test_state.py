"""Builds of several calls: with --state each goes on where the one before has stopped.

A sequence of calls is run twice, in other directories, at other times and on a busy machine, and
must print the same; what is asserted beside that is what one long call would have shown.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from tests.system.builds import Build, edit, put, sequence, twice
from tests.system.capabilities import needs, needs_tools
from tests.system.harness import EPOCH, Outcome, Runner, difference

SHOW = "stat -c '%n %i %d %s %b %h %f %x|%y|%z|%w'"
WHO = (
    "date +%s.%N; uuidgen; od -An -N8 -tx1 /dev/urandom; sh -c 'echo $$'; sleep 9; cat /proc/uptime"
)


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
