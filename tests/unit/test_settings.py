"""Where an option's value comes from, and what is said of a wrong one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nsbuild.cli import settings
from nsbuild.cli.rules import Options
from nsbuild.cli.settings import DEFAULTS, Settings, variable_of
from nsbuild.determinism.clock import DEFAULT_EPOCH
from nsbuild.errors import NsbuildError


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file, which does not exist yet; and no variable of ours is set."""
    for name in [*map(variable_of, DEFAULTS), "SOURCE_DATE_EPOCH"]:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "nsbuild.toml"
    monkeypatch.setattr(settings, "PATH", str(path))
    return path


def epoch(target: Path, **given: str) -> int:
    return Options(Settings(given), str(target)).epoch


def test_the_order_of_epochs(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert epoch(tmp_path) == DEFAULT_EPOCH
    (tmp_path / "etc/nsbuild").mkdir(parents=True)
    (tmp_path / "etc/nsbuild/epoch").write_text("5\n")
    assert epoch(tmp_path) == 5
    file.write_text("epoch = 4")
    assert epoch(tmp_path) == 4
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "3")
    assert epoch(tmp_path) == 3
    monkeypatch.setenv("NSBUILD_EPOCH", "2")
    assert epoch(tmp_path) == 2
    assert epoch(tmp_path, epoch="1") == 1


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_each_option_can_come_from_each_place(
    name: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings({})[name].value == DEFAULTS[name]
    file.write_text(f"{name} = '/file'")
    assert Settings({})[name] == ("/file", f"{file}: {name}")
    monkeypatch.setenv(variable_of(name), "variable")
    assert Settings({})[name] == ("variable", variable_of(name))
    assert Settings({name: "line"})[name] == ("line", f"--{name}")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSBUILD_SEED", "")
    assert Settings({})["seed"].value is None


def test_numbers_and_times_of_the_file(tmp_path: Path, file: Path) -> None:
    file.write_text("epoch = 2025-01-01T00:00:00Z\nseed = 7\nstep = 0.5\ncpu-model = 'baseline'")
    chosen = Options(Settings({}), str(tmp_path))
    assert chosen.epoch == 1735689600
    assert chosen.rules().seed == 7
    assert chosen.rules().rates.step == 500_000_000
    assert chosen.cpu_model == "baseline"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sed = 1", "unknown key 'sed'"),
        ("seed = true", "seed: not a text, a number or a time"),
        ("seed = [1]", "seed: not a text"),
        ("[seed]\na = 1", "seed: not a text"),
        ("seed = ", "Invalid value"),
        ("\ufeffseed = 1", "nsbuild.toml: "),
        ("seed = 'x'", "seed 'x': not a number"),
        ("clock = 'sun'", "clock 'sun': unknown"),
        ("sched = 'rr'", "sched 'rr': unknown"),
        ("cpu-model = 'new'", "cpu-model 'new': unknown"),
        ("epoch = 'soon'", "epoch 'soon': not a time"),
        ("machine-id = 'x'", "machine-id 'x': not 32 hex digits"),
        ("state = 'build'", "state 'build': not an absolute path"),
        ("profile = 'seccomp/mine'", "profile 'seccomp/mine': not an absolute path"),
        ("profile = 'mine.json'", "profile 'mine.json': not an absolute path"),
    ],
)
def test_what_is_wrong_with_the_file(text: str, says: str, tmp_path: Path, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(NsbuildError) as error:
        everything(tmp_path)
    assert str(file) in error.value.message
    assert says in error.value.message
    assert "\n" not in str(error.value)
    assert error.value.code == 125


def test_a_file_that_is_no_file(tmp_path: Path, file: Path) -> None:
    file.mkdir()
    with pytest.raises(NsbuildError, match=f"cannot read {file}: Is a directory"):
        everything(tmp_path)


@pytest.mark.parametrize("name", ["epoch", "step", "seed", "clock", "cpu", "sched", "hostname"])
def test_a_bad_variable_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable_of(name), "a b")
    with pytest.raises(NsbuildError, match=f"{variable_of(name)} 'a b'"):
        everything(tmp_path)


def everything(target: Path) -> None:
    """Look at every option."""
    chosen = Options(Settings({}), os.fspath(target))
    chosen.rules()
    chosen.scheduling()
    chosen.profile()
