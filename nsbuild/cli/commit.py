"""nsbuild commit: an image of what a container was made from and what it has changed.

The time in it is the epoch of the container's clock, so that two containers that have done the same
give one image.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
import sys
from typing import Any

from nsbuild.cli import podman
from nsbuild.cli.containers import open_records
from nsbuild.cli.spans import stamp
from nsbuild.container.records import RUNNING
from nsbuild.container.specjson import decode
from nsbuild.container.view import settle
from nsbuild.errors import NsbuildError
from nsbuild.images import reference
from nsbuild.images.store import Store

_INSTRUCTION = re.compile(r"(\w+)[= ]\s*(.*)", re.DOTALL)
"""CMD=sh is taken for CMD sh, as by Podman."""
_WORDS = {"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}
_TEXTS = {"WORKDIR": "WorkingDir", "USER": "User", "STOPSIGNAL": "StopSignal"}
_SETS = {"EXPOSE": "ExposedPorts", "VOLUME": "Volumes"}


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild commit`."""
    parser = podman.PodmanParser("commit", "[OPTIONS] CONTAINER [IMAGE]", "Make an image.")
    add = parser.add_argument
    add("-a", "--author", default="", help="who has made it")
    add("-m", "--message", default="", help="what for")
    add("-c", "--change", metavar="LINE", action="append", default=[], help="CMD, ENV, LABEL ...")
    add("--iidfile", metavar="FILE", help="write the id to FILE")
    add("-q", "--quiet", action="store_true", help="nothing but the id, as always")
    add("container", metavar="CONTAINER", help="a name or id")
    add("image", metavar="IMAGE", nargs="?", help="what to call the image")
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    records = open_records()
    record = records.find(options.container)
    spec = decode(record.spec)
    if not spec.root.layers:
        raise NsbuildError(f"container {record.name} has a directory as its root, and no image")
    if record.state == RUNNING:
        settle(records, record)
    records.close()
    names = (reference.local(options.image),) if options.image else ()
    store = Store.default()
    base = store.image(record.image_id)
    config = _changed(base.config, options.change)
    created = stamp(spec.rules.rates.epoch)
    config["created"] = created
    if options.author:
        config["author"] = options.author
    entry = {"created": created, "created_by": " ".join(spec.command.argv)}
    entry.update({"author": options.author} if options.author else {})
    entry.update({"comment": options.message} if options.message else {})
    config["history"] = [*config.get("history", []), entry]
    try:
        layer = store.add_layer(spec.root.target, upper=True)
        image = store.commit((*base.layers, layer), config, names)
    finally:
        store.close()
    if options.iidfile:
        with open(options.iidfile, "w") as file:
            file.write(image.id)
    sys.stdout.write(f"{image.id}\n")
    return 0


def _changed(config: dict[str, Any], lines: list[str]) -> dict[str, Any]:
    """The image's config with the instructions of a Containerfile in `lines`."""
    new = copy.deepcopy(config)
    settings: dict[str, Any] = new.setdefault("config", {})
    for line in lines:
        found = _INSTRUCTION.match(line)
        word, rest = found.groups() if found else (line, "")
        name = word.upper()
        if name in _WORDS:
            settings[_WORDS[name]] = _command(rest)
        elif name in _TEXTS:
            settings[_TEXTS[name]] = rest
        elif name in _SETS:
            settings.setdefault(_SETS[name], {}).update({one: {} for one in rest.split()})
        elif name == "ENV":
            given = _assignments(rest)
            kept = [t for t in settings.get("Env") or [] if t.partition("=")[0] not in given]
            settings["Env"] = kept + [f"{key}={value}" for key, value in given.items()]
        elif name == "LABEL":
            settings["Labels"] = {**(settings.get("Labels") or {}), **_assignments(rest)}
        else:
            raise NsbuildError(f'invalid change "{line}" - no instruction {word!r}')
    return new


def _command(text: str) -> list[str]:
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError as error:
            raise NsbuildError(f"invalid change: {text}: not a JSON list") from error
        return [str(word) for word in words]
    return ["/bin/sh", "-c", text]


def _assignments(text: str) -> dict[str, str]:
    words = shlex.split(text)
    if words and "=" not in words[0]:
        return {words[0]: " ".join(words[1:])}
    return dict(word.partition("=")[::2] for word in words)
