"""A Containerfile as stages of instructions: what it says, before anything is done.

Lines are taken together by the dockerfile-parse library; which instructions there are, what flags
they take and what a stage starts from is said here. Whatever Podman would do with an instruction
and we would not is an error rather than left out, but for those that Podman itself leaves out of
OCI images.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from nsbuild.build import expand
from nsbuild.errors import NsbuildError, warn
from nsbuild.tuples import NamedTuple

PLATFORM = {
    f"{side}{what}": value
    for side in ("TARGET", "BUILD")
    for what, value in (
        ("PLATFORM", "linux/amd64"),
        ("OS", "linux"),
        ("ARCH", "amd64"),
        ("VARIANT", ""),
    )
}
"""Arguments that have a value without being given one, for who declares them."""

_FLAGS = {
    "FROM": ("platform",),
    "COPY": ("from", "chown", "chmod"),
    "ADD": ("chown", "chmod"),
    **dict.fromkeys(("RUN", "ENV", "ARG", "WORKDIR", "USER", "LABEL", "ENTRYPOINT", "CMD"), ()),
    **dict.fromkeys(("SHELL", "VOLUME", "EXPOSE", "STOPSIGNAL", "MAINTAINER"), ()),
}
"""Instruction -> its flags."""

_NOT_IN_OCI = ("HEALTHCHECK", "ONBUILD")
"""An OCI image has no place for these (image-spec, config.md); Podman warns of them, too."""

_HEREDOC = r"<<-?\s*(['\"]?)([A-Za-z_]\w*)\1"
_ESCAPE = r"(?im)\A(?:\s*#\s*syntax\s*=.*\n)?\s*#\s*escape\s*=\s*(\\|`)\s*$"


class Instruction(NamedTuple):
    """One of them: `text` is what follows the name and its flags, `line` counts from 1."""

    name: str
    text: str
    line: int
    flags: Mapping[str, str] = {}

    def exec_form(self) -> list[str] | None:
        """The words of the JSON form; None for any other."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return None
        good = isinstance(found, list) and all(isinstance(word, str) for word in found)
        return found if good else None

    def error(self, what: str, hint: str = "") -> NsbuildError:
        """An error in this line."""
        return NsbuildError(f"line {self.line}: {self.name}: {what}", hint)


class Stage(NamedTuple):
    """What one FROM begins: `base` an image, a stage before it, or `scratch`."""

    base: str
    name: str
    line: int
    instructions: tuple[Instruction, ...]


class Containerfile(NamedTuple):
    """All of it: `arguments` are the ARGs before the first FROM, with their values."""

    stages: tuple[Stage, ...]
    arguments: Mapping[str, str]
    escape: str

    def number(self, name: str) -> int | None:
        """Which stage is called so, by its name or its number."""
        for number, stage in enumerate(self.stages):
            if name.lower() == stage.name or name == str(number):
                return number
        return None


def parse(text: str, given: Mapping[str, str]) -> Containerfile:
    """Read a Containerfile; `given` are the values of --build-arg. Raises NsbuildError."""
    match = re.match(_ESCAPE, text)
    escape = match.group(1) if match else "\\"
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction in _instructions(text, escape):
        if instruction.name == "FROM":
            stages.append(_stage(instruction, arguments, stages, escape))
        elif stages:
            last = stages[-1]
            stages[-1] = last._replace(instructions=(*last.instructions, instruction))
        elif instruction.name == "ARG":
            arguments.update(argument(instruction, {**PLATFORM, **arguments}, given, escape))
        else:
            raise instruction.error("it comes before the first FROM")
    if not stages:
        raise NsbuildError("there is no FROM in the Containerfile", "begin it with FROM IMAGE")
    return Containerfile(tuple(stages), arguments, escape)


def argument(
    instruction: Instruction, known: Mapping[str, str], given: Mapping[str, str], escape: str
) -> dict[str, str]:
    """What an ARG sets: what was given for it, its default, or what is known of it."""
    found = {}
    for word in expand.split(instruction.text, escape):
        name, equals, default = word.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise instruction.error(f"{name!r} is not a name")
        if name in given:
            found[name] = given[name]
        elif equals:
            found[name] = expand.value(default, {**known, **found}, escape)
        elif name in known:
            found[name] = known[name]
    return found


def _stage(
    instruction: Instruction, arguments: Mapping[str, str], before: list[Stage], escape: str
) -> Stage:
    variables = {**PLATFORM, **arguments}
    platform = expand.value(instruction.flags.get("platform", ""), variables, escape)
    if platform not in ("", PLATFORM["TARGETPLATFORM"]):
        raise instruction.error(f"there are no images for {platform}", "nsbuild builds on x86-64")
    found = expand.words(instruction.text, variables, escape)
    if len(found) == 3 and found[1].lower() == "as":
        name = found[2].lower()
    elif len(found) == 1:
        name = ""
    else:
        raise instruction.error("it takes IMAGE [AS NAME]")
    if name and any(stage.name == name for stage in before):
        raise instruction.error(f"there is a stage {name} already")
    return Stage(found[0], name, instruction.line, ())


def _instructions(text: str, escape: str) -> list[Instruction]:
    """The instructions in their order, comments and what OCI has no place for left out."""
    # Imported here: none but `build` needs it.
    from dockerfile_parse import DockerfileParser

    lines = _continued(text, escape)
    source = io.BytesIO("\n".join(lines).encode())
    structure: list[dict[str, Any]] = DockerfileParser(fileobj=source).structure
    for item in structure:
        _no_heredoc(item, lines)
    _nothing_left(structure, lines)
    found = []
    for item in structure:
        name, line = item["instruction"], item["startline"] + 1
        if name == "COMMENT":
            continue
        if name in _NOT_IN_OCI:
            warn(f"line {line}: {name} is left out: OCI images have no place for it")
            continue
        if name not in _FLAGS:
            raise NsbuildError(f"line {line}: {name}: there is no such instruction")
        found.append(_with_flags(Instruction(name, item["value"].strip(), line)))
    return found


def _continued(text: str, escape: str) -> list[str]:
    """The lines of `text`; an empty one within an instruction does not end it."""
    lines, continues = [], False
    for line in text.removeprefix("\ufeff").splitlines():
        if continues and not line.strip():
            lines.append(escape)
            continue
        if not line.lstrip().startswith("#"):
            continues = line.rstrip().endswith(escape)
        lines.append(line)
    return lines


def _with_flags(instruction: Instruction) -> Instruction:
    """Take the flags off the front of the text."""
    flags: dict[str, str] = {}
    text = instruction.text
    while match := re.match(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|\Z)", text):
        name, given = match.groups()
        if name not in _FLAGS[instruction.name]:
            raise instruction.error(f"nsbuild knows no flag --{name} of it")
        if not given:
            raise instruction.error(f"--{name} has no value")
        flags[name] = given
        text = text[match.end() :]
    if not text:
        raise instruction.error("it is not complete")
    return instruction._replace(text=text, flags=flags)


def _no_heredoc(item: dict[str, Any], lines: list[str]) -> None:
    if item["instruction"] in ("RUN", "COPY", "ADD"):
        after = {line.strip() for line in lines[item["endline"] + 1 :]}
        for match in re.finditer(_HEREDOC, item["value"]):
            if match.group(2) in after:
                raise NsbuildError(
                    f"line {item['startline'] + 1}: {item['instruction']}: here-documents are not "
                    "supported",
                    "put the text into a file of the context",
                )


def _nothing_left(structure: list[dict[str, Any]], lines: list[str]) -> None:
    """The library passes over an instruction with nothing behind it."""
    taken = (range(item["startline"], item["endline"] + 1) for item in structure)
    covered = {number for numbers in taken for number in numbers}
    for number, line in enumerate(lines):
        if line.strip() and number not in covered:
            raise NsbuildError(f"line {number + 1}: {line.split()[0].upper()}: it is not complete")
