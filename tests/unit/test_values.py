"""Values of options: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.cli import values
from nsbuild.container.spec import Tmpfs, Volume
from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.errors import NsbuildError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1450797978", 1450797978),
        ("@1450797978", 1450797978),
        ("2015-12-22T15:26:18Z", 1450797978),
        ("2015-12-22T16:26:18+01:00", 1450797978),
        ("2015-12-22", 1450742400),
    ],
)
def test_epoch(text: str, seconds: int) -> None:
    assert values.epoch("--epoch", text) == seconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1", NSEC_PER_SEC),
        ("0.5", NSEC_PER_SEC // 2),
        ("1.5ms", 1_500_000),
        ("20us", 20_000),
        ("100ns", 100),
        ("2s", 2 * NSEC_PER_SEC),
        ("0.000000001", 1),
    ],
)
def test_duration(text: str, nanoseconds: int) -> None:
    assert values.duration("--step", text) == nanoseconds


@given(st.integers(1, 10**6), st.sampled_from(["ns", "us", "ms", "s"]))
def test_whole_durations_scale(number: int, unit: str) -> None:
    scale = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[unit]
    assert values.duration("--step", f"{number}{unit}") == number * scale


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (values.epoch, "yesterday", "not a time"),
        (values.epoch, "", "not a time"),
        (values.epoch, "-1", "not a time"),
        (values.epoch, "99999999999", "out of range"),
        (values.duration, "fast", "not a time span"),
        (values.duration, "-1", "not a time span"),
        (values.duration, "0", "out of range"),
        (values.duration, "0.5ns", "out of range"),
        (values.duration, "1e3", "not a time span"),
        (values.whole_number, "x", "not a number"),
        (values.whole_number, "-1", "not a number"),
        (values.whole_number, "\u0661", "not a number"),
        (values.cpu, "first", "not a number"),
    ],
)
def test_nonsense_is_one_line(parse: Callable[[str, str], object], text: str, says: str) -> None:
    with pytest.raises(NsbuildError) as error:
        parse("--it", text)
    assert says in error.value.message
    assert f"--it {text!r}" in error.value.message
    assert "\n" not in str(error.value)
    assert error.value.code == 125


def test_volume(tmp_path: Path) -> None:
    source = str(tmp_path)
    assert values.volume(f"{source}:/a/../b") == Volume(source, "/b", False)
    assert values.volume(f"{source}:/b:ro") == Volume(source, "/b", True)
    assert values.volume(f"{source}:/b:rw") == Volume(source, "/b", False)


@pytest.mark.parametrize("text", ["", ":", "/a", "/a:", ":/b", "/a:b", "/a:/b:z", "/a:/b:ro:x"])
def test_bad_volumes(text: str) -> None:
    with pytest.raises(NsbuildError, match="--volume"):
        values.volume(text)


def test_named_volumes_are_said_not_to_exist() -> None:
    with pytest.raises(NsbuildError) as error:
        values.volume("cache:/b")
    assert "names are not supported" in error.value.hint


def test_tmpfs() -> None:
    assert values.tmpfs("/t") == Tmpfs("/t", "")
    assert values.tmpfs("/t:size=1m,mode=700") == Tmpfs("/t", "size=1m,mode=700")
    with pytest.raises(NsbuildError, match="absolute"):
        values.tmpfs("t")


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "yes")
    monkeypatch.delenv("MISSING", raising=False)
    assert values.variable("A=b=c") == ("A", "b=c")
    assert values.variable("A=") == ("A", "")
    assert values.variable("THERE") == ("THERE", "yes")
    assert values.variable("MISSING") is None
    with pytest.raises(NsbuildError, match="no name"):
        values.variable("=x")
