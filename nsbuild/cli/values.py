"""Values of options: text in, a typed value out, or one line that says what is wrong with it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nsbuild.container.spec import Tmpfs, Volume
from nsbuild.determinism.clock import DEFAULT_EPOCH, NSEC_PER_SEC
from nsbuild.errors import NsbuildError
from nsbuild.kernel.mount import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

if TYPE_CHECKING:
    from nsbuild.container.state import State

_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NSEC_PER_SEC, "": NSEC_PER_SEC}
_DURATION = re.compile(r"(\d+)(?:\.(\d{1,9}))?(ns|us|ms|s|)")
_LONGEST_EPOCH = 40
_MOST_DIGITS = 100
_LATEST_EPOCH = (1 << 33) - 1
"""Enough for the next 242 years, and far from where nanoseconds in 64 bits end."""


def bad(option: str, value: str, why: str, hint: str = "") -> NsbuildError:
    """The error for an option's value."""
    return NsbuildError(f"{option} {value!r}: {why}", hint)


def epoch(option: str, text: str) -> int:
    """Seconds since 1970, as a number (perhaps behind an @) or as an ISO 8601 date and time."""
    digits = text.removeprefix("@")
    if digits.isascii() and digits.isdigit():
        seconds = int(digits)
    else:
        from datetime import UTC, datetime

        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise bad(
                option, text, "not a time", "give seconds since 1970, or 2015-12-22T15:26:18Z"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = int(moment.timestamp())
    if not 0 <= seconds <= _LATEST_EPOCH:
        raise bad(option, text, "out of range", f"0 to {_LATEST_EPOCH} seconds since 1970")
    return seconds


def open_state(path: str | None) -> State | None:
    """The state in the directory `path`, locked and read; None where there is none or no name."""
    if not path:
        return None
    from nsbuild.container.state import State

    state = State(os.path.abspath(path))
    state.load()
    return state


def choose_epoch(origin: str, asked: str | None, target: str, state: State | None = None) -> int:
    """What `origin` asks for, else what the state has, else TARGET/etc/nsbuild/epoch; seconds.

    Else the default. What is asked for must be what the state has.
    """
    kept = None if state is None else state.epoch
    if asked is not None:
        seconds = epoch(origin, asked)
        if state is not None and kept not in (None, seconds):
            raise _other(state, f"the epoch {kept}", f"{origin} says {seconds}")
        return seconds
    if kept is not None:
        return kept
    text = _read_inside(target, "etc/nsbuild/epoch")
    return DEFAULT_EPOCH if text is None else epoch(f"{target}/etc/nsbuild/epoch", text)


def choose_seed(origin: str, asked: str | None, state: State | None = None) -> int:
    """What `origin` asks for, which must be what the state has; else that, else 0."""
    kept = None if state is None else state.seed
    if asked is None:
        return kept or 0
    seed = whole_number(origin, asked)
    if state is not None and kept not in (None, seed):
        raise _other(state, f"the seed {kept}", f"{origin} says {seed}")
    return seed


def _other(state: State, has: str, says: str) -> NsbuildError:
    return NsbuildError(
        f"state {state.path} has {has}, but {says}",
        "all calls of a build have the same; give another directory to begin a new one",
    )


def _read_inside(root: str, path: str) -> str | None:
    """The start of a regular file in `root`, however links in there point; None without one."""
    try:
        top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fd = openat2(
            top, path, os.O_RDONLY | os.O_NONBLOCK, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
        )
    except OSError:
        return None
    finally:
        os.close(top)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return os.read(fd, _LONGEST_EPOCH).decode("ascii", errors="replace").strip()
    finally:
        os.close(fd)


def working_directory(hint: str = "") -> str:
    """Where we are; raises NsbuildError, with `hint`, if it is gone."""
    try:
        return os.getcwd()
    except OSError as error:
        raise NsbuildError.from_os("cannot find the working directory", error, hint) from error


def duration(option: str, text: str) -> int:
    """A time span such as 1, 0.5, 20ms or 100ns; returns nanoseconds, at least 1."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise bad(option, text, "not a time span", "give seconds, or a number with ms, us or ns")
    whole, fraction, unit = match.groups()
    scale = _UNITS[unit]
    span = int(whole) * scale + int((fraction or "").ljust(9, "0")) * scale // NSEC_PER_SEC
    if not 0 < span <= _LATEST_EPOCH * NSEC_PER_SEC:
        raise bad(option, text, "out of range", "it must be at least one nanosecond")
    return span


def whole_number(option: str, text: str) -> int:
    """A number from 0 up."""
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        raise bad(option, text[:40], "not a number", "give a whole number from 0 up")
    return int(text)


def choice(option: str, text: str, among: Sequence[str]) -> str:
    """`text`, which must be one of the words `among`."""
    if text not in among:
        raise bad(option, text, "unknown", f"there is: {', '.join(among)}")
    return text


def cpu(option: str, text: str) -> int | None:
    """A CPU's number, or None for `auto`."""
    return None if text == "auto" else whole_number(option, text)


def pattern(option: str, text: str, allowed: str, what: str) -> str:
    """`text`, if all of it matches the regular expression `allowed`."""
    if re.fullmatch(allowed, text) is None:
        raise bad(option, text, f"not {what}")
    return text


def volume(text: str) -> Volume:
    """SOURCE:TARGET[:ro|rw], as podman-run(1) takes it for directories and files."""
    fields = text.split(":")
    mode = fields.pop() if len(fields) == 3 else "rw"
    if len(fields) != 2 or not all(fields) or mode not in ("ro", "rw"):
        raise bad("--volume", text, "not SOURCE:TARGET[:ro|rw]")
    source, target = fields
    if "/" not in source and not os.path.exists(source):
        raise bad("--volume", text, f"no {source} here", "volumes with names are not supported")
    if not target.startswith("/"):
        raise bad("--volume", text, "TARGET must be an absolute path")
    return Volume(os.path.abspath(source), os.path.normpath(target), mode == "ro")


def tmpfs(text: str) -> Tmpfs:
    """TARGET[:OPTIONS], options as tmpfs(5)."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise bad("--tmpfs", text, "TARGET must be an absolute path")
    return Tmpfs(os.path.normpath(target), options)


def variable(text: str) -> tuple[str, str] | None:
    """NAME=VALUE, or NAME for the caller's own value; None where the caller has none."""
    name, equals, value = text.partition("=")
    if not name:
        raise bad("--env", text, "no name")
    if equals:
        return name, value
    return (name, os.environ[name]) if name in os.environ else None


def env_file(path: str) -> list[str]:
    """The lines of an --env-file: NAME=VALUE, or NAME for the caller's own."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.strip("\n").lstrip() for line in file]
    except OSError as error:
        raise NsbuildError.from_os(f"cannot read the --env-file {path}", error) from error
    return [line for line in lines if line and not line.startswith("#")]
