"""What happens to a build's state when a call of it fails, is killed, or must not begin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.builds import Act, Build, start
from tests.system.harness import EPOCH, TIMEOUT, Runner
from tests.system.leftovers import new_mark, none_marked


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
    # 1000000800 is a full hour.
    assert build.lines("date +%s; date +%s") == ["1000000810", "1000000820"]


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
