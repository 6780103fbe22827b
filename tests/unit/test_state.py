"""The state's directory: what is saved is what is read, and what cannot be used is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsbuild.cli import values
from nsbuild.cli.rules import Options
from nsbuild.cli.settings import Settings
from nsbuild.container.state import NAME, State
from nsbuild.determinism.continuation import Left, Root
from nsbuild.determinism.files import Key
from nsbuild.errors import NsbuildError

NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1)
OPTIONAL = st.none() | NUMBERS
NAMES = st.binary(max_size=30).map(os.fsdecode)
LEFT = st.builds(Left, *[NUMBERS] * 4, st.booleans(), NUMBERS, OPTIONAL, OPTIONAL, OPTIONAL, NAMES)
KEYS = st.tuples(st.integers(0, (1 << 64) - 1), st.integers(0, 4095), st.integers(0, 1 << 20))
ROOT = Root(1_450_797_990 * 10**9, 5, 60, 4, 1, 2)


def saved(path: Path, root: Root = ROOT, files: dict[Key, Left] | None = None) -> None:
    """One call, from its start to its end."""
    state = State(str(path))
    state.load()
    state.claim()
    state.save(7, 1_450_797_978, 1_800_000_000 * 10**9, root, files or {})
    state.close()


def loaded(path: Path) -> State:
    state = State(str(path))
    state.load()
    return state


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.builds(Root, *[st.integers(0, 1 << 63)] * 6), st.dictionaries(KEYS, LEFT, max_size=5))
def test_what_is_saved_is_read(tmp_path: Path, root: Root, files: dict[Key, Left]) -> None:
    saved(tmp_path, root, files)
    state = loaded(tmp_path)
    earlier = state.earlier(1)
    state.close()
    assert (state.epoch, state.seed) == (1_450_797_978, 7)
    assert (earlier.root, earlier.files) == (root, files)
    assert sorted(os.listdir(tmp_path)) == [NAME]


def test_a_missing_directory_is_a_new_build_and_is_made_late(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    state = loaded(path)
    assert (state.epoch, state.seed, state.earlier(1).root) == (None, None, None)
    assert not path.exists()
    state.claim()
    assert state.made
    assert path.is_dir()


def test_the_build_began_with_its_first_call(tmp_path: Path) -> None:
    saved(tmp_path)
    state = loaded(tmp_path)
    state.save(7, 1_450_797_978, 1_900_000_000 * 10**9, ROOT, {})
    content = json.loads((tmp_path / NAME).read_text())
    assert content["since"] == 1_800_000_000 * 10**9
    assert content["calls"] == 2


def test_what_a_killed_call_left_is_in_nobodys_way(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / ".state.json.new").write_text("half")
    saved(tmp_path)
    assert os.listdir(tmp_path) == [NAME]


def test_a_state_is_for_one_call_at_a_time(tmp_path: Path) -> None:
    first = loaded(tmp_path)
    with pytest.raises(NsbuildError, match="in use by another call"):
        loaded(tmp_path)
    first.close()
    loaded(tmp_path)


def test_two_first_calls_at_once(tmp_path: Path) -> None:
    first, second = loaded(tmp_path / "new"), loaded(tmp_path / "new")
    first.claim()
    with pytest.raises(NsbuildError, match="in use by another call"):
        second.claim()
    first.save(7, 1, 1, ROOT, {})
    first.close()
    with pytest.raises(NsbuildError, match="in use by another call"):
        second.claim()


def change(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def act(content: dict[str, Any]) -> None:
        content[key] = value

    return act


def change_row(place: int, value: object) -> Callable[[dict[str, Any]], None]:
    def act(content: dict[str, Any]) -> None:
        content["files"][0][place] = value

    return act


@pytest.mark.parametrize(
    "spoil",
    [
        change("format", "another"),
        change("root", {}),
        change("root", {"wall": "soon"}),
        change("root", []),
        change("seed", None),
        change("epoch", 1.5),
        change("epoch", True),
        change("since", 1 << 80),
        change("files", None),
        change("files", [[1, 2, 3]]),
        change("columns", ["inode"]),
        *(change_row(place, "x") for place in range(3)),
        change_row(7, 1),
        change_row(10, "x"),
        change_row(12, None),
    ],
)
def test_a_spoilt_state_is_refused(tmp_path: Path, spoil: Callable[[Any], None]) -> None:
    saved(tmp_path, files={(1, 2, 3): Left(1, 2, 3, 4, True, 5, None, None, None, "n")})
    path = tmp_path / NAME
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(NsbuildError, match="is not a state of nsbuild") as error:
        loaded(tmp_path)
    assert "\n" not in str(error.value)
    assert "remove the directory" in error.value.hint


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"0" * 100, b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / NAME).write_bytes(text)
    with pytest.raises(NsbuildError, match="is not a state of nsbuild"):
        loaded(tmp_path)


def test_another_version_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"format": "nsbuild state", "version": 2}')
    with pytest.raises(NsbuildError, match="it has version 2, and this nsbuild knows 1"):
        loaded(tmp_path)


def test_a_link_or_a_pipe_is_no_state(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to("/etc/passwd")
    with pytest.raises(NsbuildError, match="cannot read state"):
        loaded(tmp_path)
    (tmp_path / NAME).unlink()
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(NsbuildError, match="not a regular file"):
        loaded(tmp_path)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NsbuildError, match=r"cannot use state .*: Not a directory"):
        loaded(tmp_path / "file")
    with pytest.raises(NsbuildError, match=r"cannot use state .*: Not a directory"):
        loaded(tmp_path / "file/below")


def test_epoch_and_seed_are_the_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NSBUILD_EPOCH", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    saved(tmp_path)
    state = loaded(tmp_path)
    (tmp_path / "etc/nsbuild").mkdir(parents=True)
    (tmp_path / "etc/nsbuild/epoch").write_text("4\n")
    target = str(tmp_path)
    epoch, seed = "2015-12-22T15:26:18Z", "7"
    assert values.choose_epoch("--epoch", None, target, state) == 1_450_797_978
    assert values.choose_epoch("--epoch", epoch, target, state) == 1_450_797_978
    assert values.choose_seed("--seed", None, state) == 7
    assert values.choose_seed("--seed", seed, state) == 7
    with pytest.raises(NsbuildError, match="has the epoch 1450797978, but --epoch says 5"):
        values.choose_epoch("--epoch", "5", target, state)
    with pytest.raises(NsbuildError, match="has the seed 7, but --seed says 0"):
        values.choose_seed("--seed", "0", state)
    for name in ("SOURCE_DATE_EPOCH", "NSBUILD_EPOCH"):
        monkeypatch.setenv(name, "6")
        asked, origin = Settings({})["epoch"]
        with pytest.raises(NsbuildError, match=f"but {name} says 6"):
            values.choose_epoch(origin, asked, target, state)


def test_a_new_state_takes_what_it_is_given(tmp_path: Path) -> None:
    state = loaded(tmp_path)
    assert values.choose_epoch("--epoch", "5", str(tmp_path), state) == 5
    assert values.choose_seed("--seed", "3", state) == 3
    assert values.choose_seed("--seed", None, state) == 0
    assert values.choose_seed("--seed", None) == 0


def test_where_the_state_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NSBUILD_STATE", raising=False)
    assert Options(Settings({}), "/").state is None
    monkeypatch.setenv("NSBUILD_STATE", str(tmp_path / "a"))
    monkeypatch.chdir(tmp_path)
    for asked, name in ((None, "a"), ("b", "b")):
        state = Options(Settings({"state": asked}), "/").state
        assert state is not None
        assert state.path == str(tmp_path / name)
    assert Options(Settings({"state": ""}), "/").state is None
