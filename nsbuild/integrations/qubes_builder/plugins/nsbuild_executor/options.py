"""The executor's options, as builder.yml has them, and the command line that they become.

Values come from YAML, which makes numbers and dates of what looks like one, or from v2's command
line, which makes strings of everything. Whether an epoch or a profile makes sense is nsbuild's to
say.
"""

from __future__ import annotations

import datetime
import importlib.util
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

BUILDER_DIR = "/builder"
"""Where the builder directory lies inside: the same on every run, because paths are inputs."""

PASSED_ON = ("epoch", "seed", "profile", "network")
"""Options that are those of `nsbuild exec`, letter for letter."""

OTHERS = frozenset(
    {"directory", "clean", "clean_on_error"}
    | {"image", "user", "group", "base_url", "connection", "use_ssh_client", "identity"}
    | {"max_pool_size", "dispvm", "ewdk", "ewdk_mode", "ewdk_skip_checksum", "ssh_ip", "ssh_vm"}
    | {"ssh_key_path", "threads"}
)
"""Options of v2's own executors. v2 merges those of the default executor into a stage's, so that a
stage with another executor gets them too."""


class Options(NamedTuple):
    """What was asked for: how nsbuild is started, with which options, on which root."""

    program: tuple[str, ...]
    passed_on: tuple[str, ...]
    root: str
    verify: bool

    def command_line(
        self, builder: str, environment: Iterable[str], command: Sequence[str], with_input: bool
    ) -> list[str]:
        """`nsbuild exec` for `command`, with the host's directory `builder` as BUILDER_DIR.

        `environment` is NAME=VALUE each. Root's home is empty: what lies in the host's is no input.
        """
        line = [*self.program, "exec", *self.passed_on, f"--volume={builder}:{BUILDER_DIR}"]
        line += [f"--workdir={BUILDER_DIR}", "--tmpfs=/root:mode=0700"]
        if self.root != "/":
            line += ["--read-only", "--tmpfs=/var/tmp"]
        line += [f"--env={variable}" for variable in environment]
        return [*line, *(["-i"] if with_input else []), self.root, *command]


def parse(given: Mapping[str, Any]) -> Options:
    """Understand the options; raises ValueError in words for the user."""
    ours = {"command", "root", "verify", *PASSED_ON}
    for name in given:
        if name not in ours | OTHERS:
            known = ", ".join(sorted(ours))
            raise ValueError(f"no option {name.replace('_', '-')!r}; there is: {known}")
    passed_on = [f"--{name}={_text(given[name])}" for name in PASSED_ON if name in given]
    root = str(given.get("root", "/"))
    if not root.startswith("/"):
        raise ValueError(f"root {root!r}: not an absolute path")
    verify = _switch("verify", given.get("verify", False))
    return Options(_program(given.get("command")), tuple(passed_on), root, verify)


def _text(value: object) -> str:
    """A value in nsbuild's words; 2026-09-01 is a date to YAML."""
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _switch(name: str, value: object) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    chosen = words.get(str(value).lower())
    if chosen is None:
        raise ValueError(f"{name} {value!r}: neither true nor false")
    return chosen


def _program(asked: object) -> tuple[str, ...]:
    """How nsbuild is started: as asked, else the one in PATH, else this Python's."""
    if isinstance(asked, list):
        return tuple(map(str, asked))
    if asked is not None:
        return tuple(shlex.split(str(asked)))
    found = shutil.which("nsbuild")
    if found:
        return (found,)
    if importlib.util.find_spec("nsbuild"):
        return (sys.executable, "-m", "nsbuild")
    raise ValueError("no command nsbuild in PATH; name it by the option command")
