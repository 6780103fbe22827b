"""nsbuild build: an image from a Containerfile, the same bits on every machine."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from nsbuild.build import containerfile
from nsbuild.build.builder import Builder, Command, Hands, Request, tell
from nsbuild.build.files import Origin
from nsbuild.build.ignore import read_ignore
from nsbuild.cli import podman, values
from nsbuild.cli.output import write_image_id
from nsbuild.cli.podman import PodmanParser
from nsbuild.cli.progress import Progress
from nsbuild.cli.registry import add_options, add_pull, found_or_pulled
from nsbuild.cli.rules import Options
from nsbuild.cli.sameness import add_determinism
from nsbuild.cli.settings import DEFAULTS, Settings
from nsbuild.container.environment import compose
from nsbuild.container.front import run_container
from nsbuild.container.spec import CommandSpec, ContainerSpec, RootSpec
from nsbuild.container.state import State
from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.errors import EXIT_OURS, NsbuildError, report, warn
from nsbuild.images import reference
from nsbuild.images.documents import Image
from nsbuild.images.place import Workshop
from nsbuild.images.store import Store

_FILES = ("Containerfile", "Dockerfile")
_NOT_RULES = ("cpu", "sched", "spin-bound", "state")
"""What a build does not depend on, or has its own of."""


def make_parser() -> PodmanParser:
    """The parser of `nsbuild build`."""
    parser = PodmanParser(
        "build",
        "[OPTIONS] CONTEXT",
        "Make an image as a Containerfile says; the same files give the same image everywhere.",
    )
    add = parser.add_argument
    add("-t", "--tag", metavar="NAME", action="append", default=[], help="what to call the image")
    add(
        "-f",
        "--file",
        metavar="FILE",
        help="the Containerfile, - for stdin (CONTEXT/Containerfile)",
    )
    add("--build-arg", metavar="NAME=VALUE", action="append", default=[], help="value of an ARG")
    add("--target", metavar="STAGE", default="", help="stop after that stage")
    add("--label", metavar="NAME=VALUE", action="append", default=[], help="label the image")
    add("--ignorefile", metavar="FILE", help="in the place of CONTEXT/.containerignore")
    add("--iidfile", metavar="FILE", help="write the image's id to FILE")
    add("--no-cache", action="store_true", help="do every step anew")
    add("--network", choices=("none", "host"), default="none", help="loopback only, or the host's")
    add("-v", "--volume", metavar="SRC:DST[:ro]", action="append", default=[], help="for each RUN")
    add_options(parser)
    add_pull(parser)
    add_determinism(parser, leave_out=("state",))
    parser.add_argument("context", metavar="CONTEXT", help="the directory that COPY copies from")
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    # Its value, if it has one, stands behind a "=": without it is an option of its own.
    words = ("--pull=always" if word == "--pull" else word for word in arguments)
    options = make_parser().parse_args([*words])
    if not os.path.isdir(options.context):
        raise NsbuildError(f"{options.context} is not a directory", "fetch or unpack it before")
    given = _pairs("--build-arg", options.build_arg, os.environ)
    store = Store.default()
    work = _Work(options, store)
    request = Request(
        origin=Origin(options.context, ignore=read_ignore(options.context, options.ignorefile)),
        file=containerfile.parse(_read(options), given),
        given=given,
        target=options.target,
        names=tuple(map(reference.local, options.tag)),
        labels=_pairs("--label", options.label, {}),
        use_cache=not options.no_cache,
        facts=work.facts(),
    )
    builder = Builder(
        store, request, Hands(work.find, work.begin, work.run, tell(options.quiet), work.busy)
    )
    image = builder.build()
    if builder.unused:
        warn(f"one or more build args were not consumed: {' '.join(builder.unused)}")
    if options.iidfile:
        write_image_id(options.iidfile, image.id)
    say = tell(options.quiet)
    for name in request.names:
        say(f"Successfully tagged {name}")
    sys.stdout.write(f"{image.id}\n")
    return 0


def _read(options: argparse.Namespace) -> str:
    if options.file == "-":
        return sys.stdin.read()
    chosen = [options.file] if options.file else [os.path.join(options.context, n) for n in _FILES]
    for path in chosen:
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise NsbuildError(f"cannot read {path}: {error}") from error
    raise NsbuildError(f"cannot read {chosen[-1]}: there is no such file", "name it by --file")


def _pairs(option: str, texts: list[str], defaults: Any) -> dict[str, str]:  # noqa: ANN401
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise values.bad(option, text, "no name")
        if equals:
            found[name] = value
        elif name in defaults:
            found[name] = defaults[name]
    return found


class _Work:
    """What the builder asks of the command line: images, clocks, containers."""

    def __init__(self, options: argparse.Namespace, store: Store) -> None:
        self._options = options
        self._store = store
        given = vars(options)
        self._given = {name: given.get(name.replace("-", "_")) for name in DEFAULTS}
        self._volumes = tuple(map(values.volume, options.volume))

    def facts(self) -> dict[str, Any]:
        """What of the options every RUN depends on."""
        settings = Settings(self._given)
        rules = {name: settings[name].value for name in DEFAULTS if name not in _NOT_RULES}
        profile = rules["profile"] or ""
        if "/" in profile or os.path.exists(profile):
            rules["profile"] = _digest(profile)
        # Which moment a step has says where its clock begins.
        del rules["epoch"]
        return {**rules, "network": self._options.network, "volumes": self._options.volume}

    def find(self, name: str) -> Image:
        """The image of FROM or --from."""
        return found_or_pulled(self._store, name, self._options)

    @contextlib.contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show on a terminal how far it is; others have the lines on stdout."""
        with Progress(self._options.quiet) as progress:
            if progress.moves:
                progress.say(what)
            self._store.advance = progress.advance
            try:
                yield
            finally:
                self._store.advance = None

    def begin(self, label: str | None) -> int:
        """The moment at which a build on an image with that label begins."""
        return Options(Settings({**self._given, "state": ""}), "", label).epoch

    def run(self, command: Command) -> tuple[int, int]:
        """Run a command; its exit code, and the moment at which it ended."""
        sys.stdout.flush()
        with self._store.place.workshop() as shop:
            state = State(shop.at("state"))
            child = os.fork()
            if child == 0:
                _run(lambda: self._spec(command, state.path), shop)
            code = _wait(child)
            if code:
                return code, 0
            state.load()
            root = state.earlier(1).root
            state.close()
        if root is None:
            raise NsbuildError("the container has ended without a state")
        # Who has not looked at the clock has not moved it.
        return 0, max(command.draft.moment, -(-root.wall // NSEC_PER_SEC))

    def _spec(self, command: Command, state: str) -> ContainerSpec:
        draft, root = command.draft, command.root
        own = {
            "epoch": str(draft.moment),
            "seed": _seed(Settings(self._given)["seed"].value or "0", command),
            "state": state,
        }
        chosen = Options(Settings({**self._given, **own}), "")
        base = chosen.environment()
        return ContainerSpec(
            root=RootSpec(
                target=root.upper,
                volumes=self._volumes,
                network=self._options.network,
                identity=chosen.identity,
                boot_time=chosen.epoch,
                cpu_model=chosen.cpu_model,
                layers=root.layers,
                work=root.work,
                scratch=False,
            ),
            command=CommandSpec(
                argv=command.argv,
                environment=compose(base, draft.variables, {}),
                workdir=draft.workdir,
                user=draft.user,
            ),
            scheduling=chosen.scheduling(),
            rules=chosen.rules(),
            profile=chosen.profile(),
            state=chosen.state,
        )


def _seed(asked: str, command: Command) -> str:
    """A seed for each step: two of them are not to make the same names and keys."""
    below = [layer.diff_id for layer in command.draft.layers]
    text = json.dumps([asked, below, command.draft.moment, command.argv])
    return str(int(hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(), 16))


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise NsbuildError.from_os(f"cannot read {path}", error) from error


def _run(spec: Callable[[], ContainerSpec], shop: Workshop) -> None:
    """The child of a RUN: the front of its container."""
    code = EXIT_OURS
    try:
        os.close(shop.fd)
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        code = run_container(spec())
    except NsbuildError as error:
        report(str(error))
        code = error.code
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - a bug of ours must not run on in the parent's code
        sys.__excepthook__(*sys.exc_info())
    finally:
        os._exit(code)


def _wait(child: int) -> int:
    """The exit code of the child; a signal to us goes to the container, whose end is waited for."""
    interrupted = False
    while True:
        try:
            _, status = os.waitpid(child, 0)
        except KeyboardInterrupt:
            interrupted = True
            continue
        if interrupted:
            raise KeyboardInterrupt
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code
