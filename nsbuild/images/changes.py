"""Changes to an image's config in a Containerfile's words, for `import -c` and `commit -c`."""

from __future__ import annotations

import copy
import json
import re
import shlex
from typing import Any

from nsbuild.errors import NsbuildError

_TEXTS = {"STOPSIGNAL": "StopSignal", "USER": "User", "WORKDIR": "WorkingDir"}
_SETS = {"EXPOSE": "ExposedPorts", "VOLUME": "Volumes"}
_COMMANDS = {"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}
WORDS = (*_COMMANDS, "ENV", "LABEL", "ONBUILD", *_TEXTS, *_SETS)
_CHANGE = re.compile(r"(\w+)[\s=]+(.+)", re.DOTALL)
"""Podman takes CMD=... as well as CMD ..."""


def apply(config: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """An image's config (the whole document) with the changes made; raises NsbuildError."""
    changed = copy.deepcopy(config)
    settings = changed.setdefault("config", {})
    for change in changes:
        found = _CHANGE.fullmatch(change.strip())
        if found is None or found[1].upper() not in WORDS:
            raise _bad(change, f"there is: {', '.join(WORDS)}, each with a value")
        _apply(settings, found[1].upper(), found[2], change)
    return changed


def _bad(change: str, why: str) -> NsbuildError:
    return NsbuildError(f"invalid change {change!r}: {why}")


def _apply(settings: dict[str, Any], word: str, rest: str, change: str) -> None:
    if word in _TEXTS:
        settings[_TEXTS[word]] = rest
    elif word in _SETS:
        names = _list(rest)
        names = _words(rest, change) if names is None else names
        settings.setdefault(_SETS[word], {}).update({name: {} for name in names})
    elif word in _COMMANDS:
        words = _list(rest)
        settings[_COMMANDS[word]] = ["/bin/sh", "-c", rest] if words is None else words
    elif word == "ONBUILD":
        settings.setdefault("OnBuild", []).append(rest)
    else:
        pairs = _pairs(rest, change)
        if word == "LABEL":
            settings.setdefault("Labels", {}).update(pairs)
        else:
            kept = [one for one in settings.get("Env", ()) if one.partition("=")[0] not in pairs]
            settings["Env"] = kept + [f"{name}={value}" for name, value in pairs.items()]


def _list(text: str) -> list[str] | None:
    """The words of a JSON list of texts; None where it is something else."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if all(isinstance(word, str) for word in found) else None


def _words(text: str, change: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _bad(change, str(error)) from None


def _pairs(text: str, change: str) -> dict[str, str]:
    """NAME=VALUE ..., or the older NAME VALUE."""
    words = _words(text, change)
    if "=" not in words[0]:
        name, _, value = text.partition(" ")
        if not value:
            raise _bad(change, "no value")
        return {name: value.strip()}
    pairs = {name: value for name, _, value in (word.partition("=") for word in words)}
    if "" in pairs:
        raise _bad(change, "no name")
    return pairs
