"""From a Containerfile to an image: stage after stage, one instruction after the other.

An instruction that changes files makes a layer, in directories of a workshop of the store, from
nothing but what its key in the cache says. All others change the config alone. Images that are only
steps on the way go when the build has succeeded, and stay for the next try when it has failed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from nsbuild.build import containerfile, expand
from nsbuild.build.cache import Cache
from nsbuild.build.containerfile import Containerfile, Instruction, Stage
from nsbuild.build.context import Source
from nsbuild.build.draft import Draft, Outcome
from nsbuild.build.files import Change, Copy, MakeWorkdir, Origin, Root, change
from nsbuild.errors import NsbuildError
from nsbuild.images.documents import EPOCH_LABEL, Image
from nsbuild.images.place import Workshop
from nsbuild.images.store import Store
from nsbuild.tuples import NamedTuple

_ON_THE_WAY = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Labels": {"org.nsbuild.step": ""}},
}
"""The config of an image that is only a step."""


class Command(NamedTuple):
    """A RUN: what to run, in which image and on which files."""

    draft: Draft
    argv: tuple[str, ...]
    root: Root


class Request(NamedTuple):
    """What is asked for. `facts` are the rules of the container, which every RUN depends on."""

    origin: Origin
    file: Containerfile
    given: dict[str, str]
    target: str
    names: tuple[str, ...]
    labels: dict[str, str]
    use_cache: bool
    facts: dict[str, Any]


class Hands(NamedTuple):
    """What the caller does for a build.

    `find` gives the image of a name, `begin` the moment at which a build on an image with that
    epoch label begins, `run` the exit code of a command and the moment at which it ended; `say`
    tells of progress, and `busy` shows that something goes on while it is entered.
    """

    find: Callable[[str], Image]
    begin: Callable[[str | None], int]
    run: Callable[[Command], tuple[int, int]]
    say: Callable[[str], None]
    busy: Callable[[str], AbstractContextManager[None]]


class Builder:
    """One build."""

    def __init__(self, store: Store, request: Request, hands: Hands) -> None:
        self._store = store
        self._request = request
        self._hands = hands
        self._file = request.file
        self._cache = Cache(store, request.use_cache)
        self._built: dict[int, tuple[Image, Draft]] = {}
        self._on_the_way: list[Image] = []
        self._pinned = 0
        self._used: set[str] = set()

    def build(self) -> Image:
        """Do it; returns the image of the last or the chosen stage. Raises NsbuildError."""
        last = self._last()
        needed = sorted(self._needed(last))
        with self._store.place.workshop() as self._shop:
            try:
                for number in needed:
                    self._stage(number, self._request.names if number == last else ())
                self._forget_steps()
            finally:
                self._unpin()
                self._store.close()
        return self._built[last][0]

    @property
    def unused(self) -> list[str]:
        """Names of --build-arg that no ARG asked for."""
        return sorted(set(self._request.given) - self._used - set(self._file.arguments))

    # Stages

    def _last(self) -> int:
        if not self._request.target:
            return len(self._file.stages) - 1
        number = self._file.number(self._request.target)
        if number is None:
            raise NsbuildError(f"there is no stage {self._request.target} in the Containerfile")
        return number

    def _needed(self, number: int) -> set[int]:
        """The stages that a stage builds on, and itself."""
        stage = self._file.stages[number]
        names = [stage.base, *(one.flags.get("from", "") for one in stage.instructions)]
        needed = {number}
        for name in filter(None, names):
            other = self._stage_before(name, number)
            if other is not None:
                needed |= self._needed(other)
        return needed

    def _stage_before(self, name: str, number: int) -> int | None:
        found = self._file.number(name)
        return found if found is not None and found < number else None

    def _stage(self, number: int, names: tuple[str, ...]) -> None:
        stage = self._file.stages[number]
        count = len(stage.instructions) + 1
        many = len(self._file.stages) > 1
        prefix = f"[{number + 1}/{len(self._file.stages)}] " if many else ""
        suffix = f" AS {stage.name}" if stage.name else ""
        self._hands.say(f"{prefix}STEP 1/{count}: FROM {stage.base}{suffix}")
        draft = self._begin(stage, number)
        for step, instruction in enumerate(stage.instructions, 2):
            flags = "".join(f"--{name}={value} " for name, value in instruction.flags.items())
            text = f"{instruction.name} {flags}{instruction.text}"
            self._hands.say(f"{prefix}STEP {step}/{count}: {text}")
            self._do(draft, instruction, number)
        if names or number == self._last():
            draft.add_labels(self._request.labels)
            for name in names:
                self._hands.say(f"{prefix}COMMIT {name}")
        image = self._store.commit(draft.layers, draft.document(), names)
        self._pin(image)
        self._hands.say(f"--> {image.id[:11]}")
        self._built[number] = image, draft

    def _begin(self, stage: Stage, number: int) -> Draft:
        before = self._stage_before(stage.base, number)
        if before is not None:
            image, earlier = self._built[before]
            draft = Draft(image, earlier.moment)
            draft.shell = earlier.shell
            return draft
        if stage.base == "scratch":
            return Draft(None, self._hands.begin(None))
        image = self._hands.find(stage.base)
        self._pin(image)
        return Draft(image, self._hands.begin(_label(image)))

    # Instructions

    def _do(self, draft: Draft, instruction: Instruction, number: int) -> None:
        try:
            if instruction.name == "RUN":
                self._run(draft, instruction)
            elif instruction.name in ("COPY", "ADD"):
                self._copy(draft, instruction, number)
            elif instruction.name == "WORKDIR":
                self._workdir(draft, instruction)
            else:
                self._configure(draft, instruction)
                text = f"{instruction.name} {instruction.text}"
                draft.add(f"/bin/sh -c #(nop) {text}", None)
        except NsbuildError as error:
            where = f"line {instruction.line}"
            if error.message.startswith(where):
                raise
            what = f'building at STEP "{instruction.name} {instruction.text}"'
            raise NsbuildError(f"{what}: {error.message}", error.hint, error.code) from error

    def _configure(self, draft: Draft, instruction: Instruction) -> None:
        """The instructions that change the config alone."""
        name, text, escape = instruction.name, instruction.text, self._file.escape
        if name == "ARG":
            known = {**containerfile.PLATFORM, **self._file.arguments, **draft.variables}
            found = containerfile.argument(instruction, known, self._request.given, escape)
            self._used |= set(found)
            draft.arguments.update(found)
        elif name == "ENV":
            draft.set_environment(expand.pairs(text, draft.variables, escape))
        elif name == "LABEL":
            draft.add_labels(expand.pairs(text, draft.variables, escape))
        elif name == "MAINTAINER":
            draft.set_author(text)
        elif name in ("USER", "STOPSIGNAL"):
            key = {"USER": "User", "STOPSIGNAL": "StopSignal"}[name]
            draft.config[key] = expand.value(text, draft.variables, escape)
        elif name == "EXPOSE":
            ports = expand.words(text, draft.variables, escape)
            draft.add_to("ExposedPorts", [_port(instruction, port) for port in ports])
        elif name == "VOLUME":
            draft.add_to("Volumes", self._words(draft, instruction))
        elif name == "SHELL":
            words = instruction.exec_form()
            if not words:
                raise instruction.error('it takes the JSON form, ["PROGRAM", "OPTION"]')
            draft.shell = tuple(words)
        else:
            argv = instruction.exec_form()
            chosen = [*draft.shell, text] if argv is None else argv
            (draft.set_command if name == "CMD" else draft.set_entrypoint)(chosen)

    def _words(self, draft: Draft, instruction: Instruction) -> list[str]:
        """The words of an instruction in either form, variables replaced."""
        words, variables, escape = instruction.exec_form(), draft.variables, self._file.escape
        if words is not None:
            return [expand.value(word, variables, escape) for word in words]
        return expand.words(instruction.text, variables, escape)

    def _run(self, draft: Draft, instruction: Instruction) -> None:
        argv = instruction.exec_form()
        argv = [*draft.shell, instruction.text] if argv is None else argv
        facts = {
            "run": argv,
            "environment": draft.variables,
            "workdir": draft.workdir,
            "user": draft.user,
            "rules": self._request.facts,
        }

        def run(root: Root) -> int:
            code, moment = self._hands.run(Command(draft, tuple(argv), root))
            if code:
                raise NsbuildError(f"while running runtime: exit status {code}", code=code)
            return moment

        self._step(draft, facts, shlex.join(argv), run)

    def _workdir(self, draft: Draft, instruction: Instruction) -> None:
        text = expand.value(instruction.text, draft.variables, self._file.escape)
        path = os.path.normpath(os.path.join(draft.workdir, text))
        draft.config["WorkingDir"] = path
        what = MakeWorkdir(path, draft.moment)
        facts = {"make": path}
        self._change(draft, facts, f"/bin/sh -c #(nop) WORKDIR {path}", what)

    def _copy(self, draft: Draft, instruction: Instruction, number: int) -> None:
        *patterns, target = self._words(draft, instruction)
        if not patterns:
            raise instruction.error("it takes one source or more, and a target")
        if any("://" in pattern for pattern in patterns):
            raise instruction.error(
                "nothing is fetched from an address", "fetch it before, and add it to the context"
            )
        slash = "/" if target.endswith(("/", "/.")) or target == "." or len(patterns) > 1 else ""
        target = os.path.normpath(os.path.join(draft.workdir, target)).rstrip("/") + slash
        flags = {
            name: expand.value(text, draft.variables, self._file.escape)
            for name, text in instruction.flags.items()
        }
        origin, digest = self._origin(draft, flags.get("from"), patterns, number)
        owner, mode = flags.get("chown"), _mode(instruction, flags.get("chmod"))
        adds = instruction.name == "ADD"
        what = Copy(origin, tuple(patterns), target or "/", draft.moment, owner, mode, unpack=adds)
        facts = {
            "copy": [digest, patterns, target, owner, mode, adds],
        }
        words = f"/bin/sh -c #(nop) {instruction.name} {' '.join(patterns)} {target}"
        self._change(draft, facts, words, what)

    def _origin(
        self, draft: Draft, name: str | None, patterns: list[str], number: int
    ) -> tuple[Origin, str]:
        """Where sources are, and a hash of what they are."""
        if name is None:
            tree = self._request.origin.open()
            try:
                found: list[Source] = [one for text in patterns for one in tree.find(text)]
                return self._request.origin, tree.digest(found)
            finally:
                os.close(tree.root)
        before = self._stage_before(name, number)
        if before is not None:
            image, earlier = self._built[before]
            # What is copied lies in the past of the copy.
            draft.moment = max(draft.moment, earlier.moment)
        else:
            image = self._hands.find(name)
            self._pin(image)
        return Origin(layers=self._store.unpacked(image)), image.id

    # Layers

    def _change(self, draft: Draft, facts: dict[str, Any], words: str, what: Change) -> None:
        def act(root: Root) -> int:
            change(root, what)
            return what.moment

        self._step(draft, facts, words, act)

    def _step(
        self,
        draft: Draft,
        facts: dict[str, Any],
        words: str,
        act: Callable[[Root], int],
    ) -> None:
        """Take the layer that `act` makes, or that it has made before."""
        below = [layer.diff_id for layer in draft.layers]
        key = self._cache.key({"below": below, "moment": draft.moment, **facts})
        outcome = self._cache.find(key)
        if outcome is not None:
            self._hands.say(f"--> Using cache {outcome.layer.diff_id[7:]}")
            draft.moment = outcome.moment
            draft.add(words, outcome.layer)
            return
        layers = self._store.unpacked(self._step_image(draft)) if draft.layers else ()
        with self._store.place.workshop() as shop:
            root = _root(shop, layers, draft.moment)
            moment = act(root)
            with self._hands.busy("Writing a layer"):
                layer = self._store.add_layer(root.upper, upper=True)
        draft.moment = moment
        draft.add(words, layer)
        self._hands.say(f"--> {self._step_image(draft).id[:11]}")
        self._cache.keep(key, Outcome(layer, moment))

    def _step_image(self, draft: Draft) -> Image:
        """An image of the layers so far, which keeps them until the build is over."""
        image = self._store.commit(draft.layers, _ON_THE_WAY, ())
        self._pin(image)
        self._on_the_way.append(image)
        return image

    def _pin(self, image: Image) -> None:
        self._store.pin(image, f"{self._pins}{self._pinned}")
        self._pinned += 1

    def _unpin(self) -> None:
        for number in range(self._pinned):
            self._store.unpin(f"{self._pins}{number}")
        self._pinned = 0

    @property
    def _pins(self) -> str:
        return f"{self._shop.name}."

    def _forget_steps(self) -> None:
        """Remove the images on the way; their layers belong to those of the stages now."""
        self._unpin()
        for image in {image.id: image for image in self._on_the_way}.values():
            # Another build may be at the same step.
            with contextlib.suppress(NsbuildError):
                self._store.remove(image, as_named=True)


def _root(shop: Workshop, layers: tuple[str, ...], moment: int) -> Root:
    """Empty directories for one step, on `layers` or on nothing."""
    # Called so, they are removed as the files of an image are.
    tree = shop.at("tree")
    upper, work, empty = (os.path.join(tree, part) for part in ("upper", "work", "empty"))
    for path in (upper, work, *(() if layers else (empty,))):
        os.makedirs(path, 0o700)
    if not layers:
        os.chmod(empty, 0o755)
        os.utime(empty, (moment, moment))
    return Root(layers or (empty,), upper, work)


def tell(quiet: bool) -> Callable[[str], None]:
    """How progress is told: as Podman does, on stdout."""

    def say(text: str) -> None:
        if not quiet:
            sys.stdout.write(f"{text}\n")
            # What a RUN says goes past Python's buffer.
            sys.stdout.flush()

    return say


def _label(image: Image) -> str | None:
    labels = (image.config.get("config") or {}).get("Labels") or {}
    found = labels.get(EPOCH_LABEL)
    return None if found is None else str(found)


def _port(instruction: Instruction, text: str) -> str:
    number, _, protocol = text.partition("/")
    first, _, last = number.partition("-")
    good = all(part.isdigit() and 0 < int(part) < 1 << 16 for part in (first, last or first))
    if not good or protocol not in ("", "tcp", "udp", "sctp"):
        raise instruction.error(f"{text!r} is not a port")
    return f"{number}/{protocol or 'tcp'}"


def _mode(instruction: Instruction, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise instruction.error(f"--chmod={text} is not an octal mode")
    return mode
