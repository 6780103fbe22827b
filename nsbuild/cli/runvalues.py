"""Values of the options of `run`: as Podman takes them, text in and a typed value out."""

from __future__ import annotations

import json
import os
import re
import resource
import signal

from nsbuild.cli import values
from nsbuild.cli.values import bad
from nsbuild.container.network import PRIVATE, check_rights
from nsbuild.container.spec import Tmpfs, Volume
from nsbuild.errors import NsbuildError

_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP "
    "LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER "
    "SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF "
    "CHECKPOINT_RESTORE"
)
CAPABILITIES = _CAPABILITIES.split()
"""In the order of their numbers (capabilities(7), linux/capability.h)."""

_DEFAULT = (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT"
)
DEFAULT_CAPABILITIES = frozenset(_DEFAULT.split())
"""What Podman leaves to a container."""

_LIMITS = {
    name.removeprefix("RLIMIT_").lower(): number
    for name, number in vars(resource).items()
    if name.startswith("RLIMIT_")
}
_NETWORK_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_FLAGS = {"z", "Z", "rw", "ro", "rprivate", "private"}


def check_network(text: str) -> None:
    """NsbuildError unless it is a network that we have, and may have."""
    kind, colon, name = text.partition(":")
    if kind == PRIVATE and (not colon or _NETWORK_NAME.fullmatch(name)):
        check_rights()
    elif text not in ("none", "host"):
        raise NsbuildError(
            f"--network={text} is not supported: nsbuild has none, host, private and private:NAME"
        )


def volume(text: str) -> Volume:
    """SOURCE:TARGET[:OPTIONS]; z and Z, which are about SELinux labels, change nothing here."""
    fields = text.split(":")
    options = fields.pop().split(",") if len(fields) == 3 else []
    if len(fields) != 2 or not set(options) <= _FLAGS:
        raise bad("--volume", text, "not SOURCE:TARGET[:ro|rw|z|Z]", "named volumes do not exist")
    mode = "ro" if "ro" in options else "rw"
    return values.volume(f"{fields[0]}:{fields[1]}:{mode}")


def mount(text: str) -> Volume | Tmpfs:
    """type=bind,source=...,target=...[,ro] or type=tmpfs,target=...[,tmpfs-size=...]."""
    fields = dict(field.partition("=")[::2] for field in text.split(","))
    kind = fields.pop("type", "")
    target = _one_of(fields, "target", "dst", "destination")
    if not target.startswith("/"):
        raise bad("--mount", text, "target must be an absolute path")
    read_only = _one_of(fields, "ro", "readonly", missing="false") not in ("false", "0")
    if kind == "bind":
        source = _one_of(fields, "source", "src")
        _none_left("--mount", text, fields)
        return values.volume(f"{source}:{target}:{'ro' if read_only else 'rw'}")
    if kind == "tmpfs":
        names = {"tmpfs-size": "size", "tmpfs-mode": "mode"}
        options = [f"{names[key]}={fields.pop(key)}" for key in names if key in fields]
        _none_left("--mount", text, fields)
        return values.tmpfs(":".join([target, ",".join([*options, *(["ro"] * read_only)])]))
    raise bad("--mount", text, f"no type {kind!r}", "there is: bind, tmpfs")


def _one_of(fields: dict[str, str], *names: str, missing: str = "") -> str:
    for name in names:
        if name in fields:
            return fields.pop(name)
    return missing


def _none_left(option: str, text: str, fields: dict[str, str]) -> None:
    if fields:
        raise bad(option, text, f"unknown: {', '.join(fields)}")


def bounding(added: list[str], dropped: list[str], privileged: bool) -> frozenset[int] | None:
    """The capabilities that programs may have; None for all."""
    add = [name for text in added for name in text.split(",")]
    drop = [name for text in dropped for name in text.split(",")]
    wanted = set(CAPABILITIES) if privileged or _has_all(add) else set(DEFAULT_CAPABILITIES)
    if _has_all(drop):
        wanted = set()
    else:
        wanted -= {_capability("--cap-drop", name) for name in drop}
    if not _has_all(add):
        wanted |= {_capability("--cap-add", name) for name in add}
    if wanted == set(CAPABILITIES):
        return None
    return frozenset(CAPABILITIES.index(name) for name in wanted)


def _has_all(names: list[str]) -> bool:
    return any(name.upper() == "ALL" for name in names)


def _capability(option: str, name: str) -> str:
    plain = name.upper().removeprefix("CAP_")
    if plain not in CAPABILITIES:
        raise bad(option, name, "unknown capability")
    return plain


def ulimit(text: str) -> tuple[int, int, int]:
    """NAME=SOFT[:HARD], -1 for no limit."""
    name, equals, rest = text.partition("=")
    soft, _, hard = rest.partition(":")
    number = _LIMITS.get(name.lower())
    if not equals or number is None:
        raise bad("--ulimit", text, "not NAME=SOFT[:HARD]", f"there is: {', '.join(_LIMITS)}")
    try:
        pair = int(soft), int(hard or soft)
    except ValueError:
        raise bad("--ulimit", text, "not a number") from None
    if -1 not in pair and pair[0] > pair[1]:
        raise bad("--ulimit", text, "the soft limit must not be above the hard one")
    return number, pair[0], pair[1]


def pairs(texts: list[str]) -> dict[str, str]:
    """NAME=VALUE and NAME, as of labels."""
    return dict(text.partition("=")[::2] for text in texts)


def entrypoint(text: str) -> list[str]:
    """A program, or a JSON list of words."""
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise bad("--entrypoint", text, "not a JSON list of texts")
        return words
    return [text] if text else []


def signal_number(text: str) -> int:
    """A signal by number or by name, SIG or no SIG."""
    if text.isascii() and text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    name = text.upper().removeprefix("SIG")
    base, plus, more = name.partition("+")
    if hasattr(signal, f"SIG{base}") and (not plus or more.isdigit()):
        number = int(getattr(signal, f"SIG{base}")) + int(more or 0)
        if number < signal.NSIG:
            return number
    raise NsbuildError(f"invalid signal: {text}")


def existing_directory(option: str, path: str) -> str:
    """`path` made absolute, if it is a directory."""
    if not os.path.isdir(path):
        raise bad(option, path, "no such directory")
    return os.path.abspath(path)


def moment(text: str) -> str:
    """A point in time (a date, seconds since 1970, or a span such as 10m back) as a log has it."""
    import re
    import time
    from datetime import UTC, datetime

    span = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if text and span is not None:
        hours, minutes, seconds = (int(part or 0) for part in span.groups())
        when = datetime.fromtimestamp(time.time() - hours * 3600 - minutes * 60 - seconds, UTC)
    elif text.isascii() and text.isdigit():
        when = datetime.fromtimestamp(int(text), UTC)
    else:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise NsbuildError(f"failed to parse time {text}") from None
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000+00:00"
