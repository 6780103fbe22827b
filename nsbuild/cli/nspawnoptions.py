"""The options of systemd-nspawn(1), version 252: what they mean here, or why they mean nothing.

Each one works or is refused in a line. Some are taken only with the value that asks for nothing, as
scripts give it: no container is registered, no unit is made, no settings file is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from nsbuild.cli import gnuopt
from nsbuild.cli.settings import DEFAULTS
from nsbuild.container.spec import Tmpfs, Volume
from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple

LETTERS = {
    "h": "help",
    "q": "quiet",
    "D": "directory",
    "x": "ephemeral",
    "i": "image",
    "a": "as-pid2",
    "b": "boot",
    "E": "setenv",
    "u": "user",
    "M": "machine",
    "S": "slice",
    "U": "private-users=pick",
    "n": "network-veth",
    "p": "port",
    "Z": "selinux-context",
    "L": "selinux-apifs-context",
    "j": "link-journal=try-guest",
    "P": "pipe",
}
"""Short options -> the long ones, two of them with a value."""

_FLAGS = ("help", "version", "quiet", "no-pager", "read-only", "as-pid2", "private-network", "pipe")
_VALUES = ("directory", "machine", "hostname", "uuid", "chdir", "setenv", "user", "console")
_MOUNTS = ("bind", "bind-ro", "tmpfs")

_NO = ("no", "false", "0", "n", "f", "off")
_FILES = "only a directory can be the root"
_UNIT = "no unit is made"
_RIGHTS = "the command has the rights of root in a user namespace of its own"
_LINK = "the network is the caller's, or with --private-network none"
_ONLY: dict[str, tuple[bool | None, tuple[str, ...], str]] = {
    "register": (True, _NO, "nothing is registered"),
    "keep-unit": (False, ("",), ""),
    "settings": (True, _NO, "no .nspawn files are read"),
    "private-users": (None, (*_NO, "identity"), "users keep their numbers"),
    "private-users-ownership": (True, ("off", "auto"), "users keep their numbers"),
    "notify-ready": (True, _NO, "nobody waits for it"),
    "suppress-sync": (True, _NO, "files are written as they are"),
    "volatile": (None, _NO, "what is written stays; copy the directory first"),
    "no-new-privileges": (True, _NO, "set-uid programs work"),
    "timezone": (True, ("off",), "the time zone is UTC"),
    "link-journal": (True, ("no", "auto", "try-guest", "try-host"), "there is no journal"),
    "personality": (True, ("x86-64",), "the machine is x86-64"),
    "resolv-conf": (True, ("off", "auto", "bind-host"), "a file of the host is not copied"),
}
"""Option -> whether it takes a value, the values that ask for what is done anyway, what is."""

_REFUSED: dict[str, tuple[bool | None, str]] = {
    "template": (True, "make the directory first"),
    "ephemeral": (False, "what is written stays; copy the directory first"),
    **dict.fromkeys(("image", "oci-bundle", "root-hash", "root-hash-sig"), (True, _FILES)),
    **dict.fromkeys(("verity-data", "pivot-root"), (True, _FILES)),
    "boot": (False, "no system is booted; name a command"),
    "kill-signal": (True, "a signal is passed on as it is"),
    **dict.fromkeys(("slice", "property"), (True, _UNIT)),
    "network-veth": (False, _LINK),
    **dict.fromkeys(("network-interface", "network-macvlan", "network-ipvlan"), (True, _LINK)),
    **dict.fromkeys(("network-veth-extra", "network-bridge", "network-zone"), (True, _LINK)),
    **dict.fromkeys(("network-namespace-path", "port"), (True, _LINK)),
    **dict.fromkeys(("capability", "drop-capability", "ambient-capability"), (True, _RIGHTS)),
    "system-call-filter": (True, "see --profile"),
    **dict.fromkeys(("selinux-context", "selinux-apifs-context"), (True, "no label is set")),
    "rlimit": (True, "limits are the same everywhere; set them inside"),
    "oom-score-adjust": (True, "set it outside"),
    "cpu-affinity": (True, "there is one CPU; --cpu chooses it"),
    "inaccessible": (True, "mount over it inside"),
    **dict.fromkeys(("overlay", "overlay-ro"), (True, "mount it inside")),
    "bind-user": (True, "add the user inside"),
    **dict.fromkeys(("set-credential", "load-credential"), (True, "use --setenv or --bind-ro")),
}
"""Option -> whether it takes a value, and why it does not work."""

THEIRS: dict[str, bool | None] = {
    **dict.fromkeys(_FLAGS, False),
    **dict.fromkeys((*_VALUES, *_MOUNTS), True),
    **{name: takes for name, (takes, _, _) in _ONLY.items()},
    **{name: takes for name, (takes, _) in _REFUSED.items()},
}
OURS: dict[str, bool | None] = {
    **{name: True for name in (*DEFAULTS, "trace") if name not in THEIRS},
    "debug": False,
}
_MODES = ("interactive", "read-only", "pipe", "autopipe")
_MACHINES = "/var/lib/machines"
_NAME = r"[A-Za-z0-9_.-]{1,64}"
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


class Asked(NamedTuple):
    """What a command line asks for; `settings` are the options that nsbuild exec has as well."""

    directory: str
    machine: str
    command: tuple[str, ...]
    settings: dict[str, str]
    environment: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    user: str | None = None
    workdir: str | None = None
    read_only: bool = False
    private_network: bool = False
    resolver: bool = True
    console: str = ""
    quiet: bool = False


def ask(arguments: Sequence[str]) -> Asked | str:
    """The meaning of a command line, or what it wants to know: help or version.

    Raises NsbuildError; `gnuopt.Unknown` where it cannot be read.
    """
    options, command = gnuopt.scan(arguments, THEIRS, OURS, LETTERS)
    last = dict(options)
    for name in ("help", "version"):
        if name in last:
            return name
    for name, value in options:
        _check(name, value)
    if "pipe" in last:
        last["console"] = "pipe"
    if last.get("console", "pipe") not in _MODES:
        raise NsbuildError(
            f"Unknown console mode: {last['console']}", f"there is: {', '.join(_MODES)}"
        )
    workdir = last.get("chdir")
    if workdir is not None and not workdir.startswith("/"):
        raise NsbuildError(f"Working directory {workdir} is not an absolute path.")
    directory = _directory(last.get("directory", ""), last.get("machine"))
    return Asked(
        directory=directory,
        machine=last.get("machine") or os.path.basename(directory),
        command=tuple(command),
        settings=_settings(last),
        environment=tuple(_variable(text) for name, text in options if name == "setenv"),
        volumes=tuple(
            _volume(text, name == "bind-ro") for name, text in options if name.startswith("bind")
        ),
        tmpfs=tuple(_tmpfs(text) for name, text in options if name == "tmpfs"),
        user=last.get("user"),
        workdir=workdir,
        read_only="read-only" in last,
        private_network="private-network" in last,
        resolver=last.get("resolv-conf") != "off",
        console=last.get("console", ""),
        quiet="quiet" in last,
    )


def _check(name: str, value: str) -> None:
    """NsbuildError unless the option works."""
    if name in _REFUSED:
        raise NsbuildError(f"--{name} is not supported: {_REFUSED[name][1]}")
    if name in _ONLY and value not in _ONLY[name][1]:
        _, values, why = _ONLY[name]
        given = f"--{name}={value}" if value else f"--{name}"
        raise NsbuildError(f"{given} is not supported: {why}", f"there is: {', '.join(values)}")


def _directory(given: str, machine: str | None) -> str:
    """The absolute path of the root; checked as systemd-nspawn does, against a slip of the pen."""
    if machine is not None and not re.fullmatch(_NAME, machine):
        raise NsbuildError(f"Invalid machine name: {machine}")
    if not given and machine:
        given = f"{_MACHINES}/{machine}"
        if not os.path.isdir(given):
            raise NsbuildError(f"No image for machine '{machine}'.", f"there is no {given}")
    try:
        path = os.path.realpath(given or ".", strict=True)
    except OSError as error:
        raise NsbuildError.from_os(f"Failed to resolve path {given or '.'}", error) from error
    if path == "/":
        raise NsbuildError(
            "Spawning container on root directory is not supported.", "nsbuild exec / does that"
        )
    if not os.path.isdir(f"{path}/usr"):
        raise NsbuildError(
            f"Directory {path} doesn't look like it has an OS tree "
            "(/usr/ directory is missing). Refusing."
        )
    return path


def _settings(last: dict[str, str]) -> dict[str, str]:
    """Those of ours, and what --machine, --hostname and --uuid mean among them."""
    settings = {name: last[name] for name in (*DEFAULTS, *OURS) if name in last}
    hostname = last.get("hostname") or last.get("machine")
    if hostname:
        if not re.fullmatch(_NAME, hostname):
            raise NsbuildError(f"Invalid hostname: {hostname}")
        settings["hostname"] = hostname
    if "uuid" in last:
        uuid = last["uuid"].lower()
        if not _UUID.fullmatch(uuid):
            raise NsbuildError(f"Invalid UUID: {last['uuid']}")
        settings["machine-id"] = uuid.replace("-", "")
    return settings


def _variable(text: str) -> str:
    if text.startswith("=") or not text:
        raise NsbuildError(f"Cannot assign environment variable {text}: Invalid argument")
    return text


def _volume(text: str, read_only: bool) -> Volume:
    """PATH[:PATH[:OPTIONS]]; a `:` in a path has a backslash before it."""
    bad = f"Failed to parse --bind(-ro)= argument {text}"
    fields = [field.replace("\\:", ":") for field in re.split(r"(?<!\\):", text)]
    source, target, options = [*fields, "", ""][:3]
    target = target or os.path.abspath(source)
    if len(fields) > 3 or not source or source.startswith("+") or not target.startswith("/"):
        raise NsbuildError(bad, "it is SOURCE[:TARGET[:rbind]], TARGET an absolute path")
    if options not in ("", "rbind"):
        raise NsbuildError(f"{bad}: {options} is not supported", "mounts below SOURCE come along")
    return Volume(os.path.abspath(source), os.path.normpath(target), read_only)


def _tmpfs(text: str) -> Tmpfs:
    """PATH[:OPTIONS]; its mode is 0755 unless the options say otherwise."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise NsbuildError(f"Failed to parse --tmpfs= argument {text}", "PATH must be absolute")
    words: Iterable[str] = filter(None, ("mode=0755", options))
    return Tmpfs(os.path.normpath(target), ",".join(words))
