"""Where the value of an option comes from when the command line does not give it.

In this order: the command line, an environment variable, /etc/nsbuild.toml, a default. Whoever
starts nsbuild in the place of chroot(1) knows none of its options, and can still choose by the
other two. Values are texts; whoever uses one says what is wrong with it, by the name it came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from nsbuild.container.spec import Identity
from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple

PATH = "/etc/nsbuild.toml"

_IDENTITY = Identity()

DEFAULTS: dict[str, str | None] = {
    "epoch": None,
    "step": "1",
    "monotonic-step": "1ms",
    "seed": None,
    "state": None,
    "clock": "causal",
    "cpu": "auto",
    "cpu-model": "host",
    "sched": "auto",
    "spin-bound": "5",
    "profile": "default",
    "hostname": _IDENTITY.hostname,
    "domainname": _IDENTITY.domainname,
    "machine-id": _IDENTITY.machine_id,
    "uname-release": _IDENTITY.release,
    "uname-version": _IDENTITY.version,
}
"""Option -> default, for those that the environment and the file can give. None: see `values`."""

OTHER_VARIABLES = {"epoch": ("SOURCE_DATE_EPOCH",)}
"""What else is looked at, behind the option's own variable."""


class Setting(NamedTuple):
    """A value, and what gave it, for messages: `--seed`, `NSBUILD_SEED`, `FILE: seed`."""

    value: str | None
    origin: str


class Settings:
    """The options' values; `given` are those of the command line. Raises NsbuildError.

    The file is read when it is first needed, and then all of it is checked.
    """

    def __init__(self, given: Mapping[str, str | None]) -> None:
        self._given = given
        self._file: dict[str, str] | None = None

    def __getitem__(self, name: str) -> Setting:
        value = self._given.get(name)
        if value is not None:
            return Setting(value, f"--{name}")
        for variable in (variable_of(name), *OTHER_VARIABLES.get(name, ())):
            if os.environ.get(variable):
                return Setting(os.environ[variable], variable)
        if self._file is None:
            self._file = read_file(PATH)
        if name in self._file:
            return Setting(self._file[name], f"{PATH}: {name}")
        return Setting(DEFAULTS[name], f"--{name}")


def variable_of(name: str) -> str:
    """The environment variable of the option `name`."""
    return "NSBUILD_" + name.upper().replace("-", "_")


def debug_wanted() -> bool:
    """Whether NSBUILD_DEBUG asks for --debug."""
    return os.environ.get("NSBUILD_DEBUG", "") not in ("", "0")


def read_file(path: str) -> dict[str, str]:
    """The settings in a TOML file, as texts; none if it does not exist."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NsbuildError.from_os(f"cannot read {path}", error) from error
    # 17 ms that nobody pays who has no such file.
    import tomllib

    try:
        table = tomllib.loads(content.decode())
    except ValueError as error:
        raise NsbuildError(f"{path}: {error}") from error
    return {key: _text(path, key, value) for key, value in table.items()}


def _text(path: str, key: str, value: object) -> str:
    if key not in DEFAULTS:
        raise NsbuildError(f"{path}: unknown key {key!r}", f"there is: {', '.join(DEFAULTS)}")
    if isinstance(value, bool | list | dict):
        raise NsbuildError(f"{path}: {key}: not a text, a number or a time")
    text = str(value)
    if _is_path(key, text) and not os.path.isabs(text):
        # All callers have this file, each in another directory.
        raise NsbuildError(f"{path}: {key} {text!r}: not an absolute path")
    return text


def _is_path(key: str, text: str) -> bool:
    """Whether an option's value names a file; a profile may be one of ours, by its name."""
    if key == "profile":
        return "/" in text or text.endswith(".json")
    return key == "state" and text != ""
