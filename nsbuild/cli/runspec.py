"""`run` and `create`: from the command line to a container on record.

What depends on the caller (variables, relative paths, settings, what the image says today) is
decided here, once, so that starting the container later gives what starting it now would.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from nsbuild.cli import runvalues, values
from nsbuild.cli.podman import PodmanParser, add_refused, need
from nsbuild.cli.registry import add_access, add_pull, found_or_pulled
from nsbuild.cli.rules import Options
from nsbuild.cli.sameness import add_determinism
from nsbuild.cli.settings import DEFAULTS, Settings
from nsbuild.container import members
from nsbuild.container.environment import compose
from nsbuild.container.life import (
    UPPER,
    VOLUMES,
    WORK,
    IsRunning,
    make_directories,
    remove,
    stop,
)
from nsbuild.container.names import check_name, new_id, new_name
from nsbuild.container.network import is_private
from nsbuild.container.records import Record, Records
from nsbuild.container.spec import CommandSpec, ContainerSpec, RootSpec, Tmpfs, Volume
from nsbuild.container.specjson import decode, encode
from nsbuild.errors import NsbuildError
from nsbuild.images.documents import EPOCH_LABEL, Image
from nsbuild.images.lookup import name_of
from nsbuild.images.store import Store
from nsbuild.tuples import NamedTuple

_STOP_SECONDS = 10


def make_parser(verb: str) -> PodmanParser:
    """The parser of `run` or `create`."""
    parser = PodmanParser(
        verb,
        "[OPTIONS] IMAGE [COMMAND [ARG...]]",
        "Run a command in a new container from IMAGE, the same on every run."
        if verb == "run"
        else "Make a container from IMAGE, to be started later.",
    )
    _add_podman(parser)
    if verb == "run":
        add = parser.add_argument
        add("-d", "--detach", action="store_true", help="leave it to itself, print its id")
    add_determinism(parser, leave_out=("hostname", "state"))
    add_refused(parser)
    parser.add_argument("image", metavar="IMAGE", help="an image's name or id")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER)
    return parser


def _add_podman(parser: PodmanParser) -> None:
    add = parser.add_argument
    add("--name", help="what to call the container")
    add("--replace", action="store_true", help="remove one of that name first")
    add("--rm", action="store_true", help="remove the container when it has ended")
    add("--rootfs", action="store_true", help="IMAGE is a directory")
    add("-e", "--env", metavar="NAME[=VALUE]", action="append", default=[], help="a variable")
    add("--env-file", metavar="FILE", action="append", default=[], help="a file of variables")
    add("--env-host", action="store_true", help="add the caller's environment")
    add("--unsetenv", metavar="NAME", action="append", default=[], help="without this variable")
    add("-v", "--volume", metavar="SRC:DST[:ro]", action="append", default=[], help="bind mount")
    add("--mount", metavar="type=...", action="append", default=[], help="bind mount or tmpfs")
    add("--tmpfs", metavar="DST[:OPTS]", action="append", default=[], help="mount a tmpfs")
    add("-w", "--workdir", metavar="DIR", help="working directory inside")
    add("-u", "--user", metavar="USER[:GROUP]", help="who to be inside")
    add("--entrypoint", metavar="WORDS", help="in the place of the image's")
    add("--read-only", action="store_true", help="make the root read-only")
    add(
        "--network",
        "--net",
        metavar="none|host|private[:NAME]",
        default="none",
        help="loopback only, the host's, or one of containers",
    )
    add("-h", "--hostname", metavar="NAME", help="what the machine is called inside")
    add("--cap-add", metavar="NAME", action="append", default=[], help="allow a capability")
    add("--cap-drop", metavar="NAME", action="append", default=[], help="forbid a capability")
    add("--privileged", action="store_true", help="allow all of them")
    add("--ulimit", metavar="NAME=SOFT[:HARD]", action="append", default=[], help="a limit")
    add("--cidfile", metavar="FILE", help="write the id to FILE, which must not exist")
    add("-l", "--label", metavar="NAME=VALUE", action="append", default=[], help="a label")
    add("--timeout", metavar="SECONDS", type=float, help="kill the command after that real time")
    add("--stop-signal", metavar="SIGNAL", help="what `stop` sends")
    add("--stop-timeout", metavar="SECONDS", type=float, default=_STOP_SECONDS, help="(10)")
    add("--init", action="store_true", help="have an init, as every container here has")
    add("-i", "--interactive", action="store_true", help="keep stdin open")
    add("-t", "--tty", action="store_true", help="give the command a terminal")
    add("-q", "--quiet", action="store_true", help="no word about pulling the image")
    add_access(parser)
    add_pull(parser)


class Source(NamedTuple):
    """What a container is made from: the image, or a directory; `config` is the image's own."""

    image: Image | None
    name: str
    layers: tuple[str, ...]
    directory: str
    config: dict[str, Any]

    def epoch_root(self) -> str:
        """The directory in which etc/nsbuild/epoch is looked for."""
        places = (*reversed(self.layers), self.directory)
        held = (p for p in places if p and os.path.lexists(os.path.join(p, "etc/nsbuild/epoch")))
        return next(held, self.directory or self.layers[-1])


def find_source(options: argparse.Namespace, store: Store) -> Source:
    """The image or directory that the command line names; raises NsbuildError."""
    if options.rootfs:
        directory = runvalues.existing_directory("--rootfs", options.image)
        return Source(None, options.image, (), os.path.realpath(directory), {})
    image = found_or_pulled(store, options.image, options)
    name = name_of(image, options.image) or options.image
    return Source(image, name, store.unpacked(image), "", image.config.get("config") or {})


def create(options: argparse.Namespace, verb: str, arguments: list[str]) -> tuple[Records, Record]:
    """Put a new container on record; raises NsbuildError."""
    store = Store.default()
    source = find_source(options, store)
    runvalues.check_network(options.network)
    records = Records(store.path)
    name = _free_name(options, records, store)
    identity = new_id()
    argv, entrypoint = _argv(options, source.config)
    spec = _spec(options, source, records.directory(identity), argv)
    config = source.config
    stop_signal = options.stop_signal or config.get("StopSignal") or "TERM"
    about = {
        "rm": options.rm,
        "timeout": options.timeout or None,
        "stop_signal": runvalues.signal_number(str(stop_signal)),
        "stop_timeout": options.stop_timeout,
        "labels": {**(config.get("Labels") or {}), **runvalues.pairs(options.label)},
        "entrypoint": entrypoint,
        "command": list(argv[len(entrypoint) :]),
        "image_command": list(options.command),
        "create_command": ["nsbuild", verb, *arguments],
        "cidfile": options.cidfile or "",
        "rootfs": source.directory,
        "privileged": options.privileged,
    }

    def make(root: RootSpec) -> Record:
        return Record(
            identity,
            name,
            "" if options.rootfs else source.name,
            source.image.id if source.image else "",
            encode(spec._replace(root=root)),
            json.dumps(about),
            created=time.time_ns(),
        )

    if options.cidfile:
        _write_id(options.cidfile, identity)
    record = _enter(records, spec.root, make)
    try:
        if source.image:
            store.pin(source.image, identity)
        make_directories(records, record)
        members.update(records, spec)
    except NsbuildError:
        discard(records, record)
        raise
    return records, record


def _enter(records: Records, root: RootSpec, make: Callable[[RootSpec], Record]) -> Record:
    """Put on record what `make` makes of a root, which then has an address where it needs one."""
    if is_private(root.network):
        return members.add(records, root, make)
    record = make(root)
    records.add(record)
    return record


def discard(records: Records, record: Record) -> None:
    """Remove a container and let go of its image; raises NsbuildError."""

    def let_go() -> None:
        if record.image_id:
            Store(records.place).unpin(record.id)

    remove(records, record, let_go)
    members.update(records, decode(record.spec))


def discard_by_force(records: Records, record: Record, seconds: float, number: int) -> None:
    """The same of one that may run: it is signalled, and killed if it is there after `seconds`."""
    while True:
        stop(records, record, seconds, number)
        try:
            discard(records, record)
            return
        except IsRunning:
            # Somebody has started it meanwhile, as the process does that `run -d` leaves.
            with contextlib.suppress(NsbuildError):
                record = records.find(record.id)


def _free_name(options: argparse.Namespace, records: Records, store: Store) -> str:
    if not options.name:
        need(not options.replace, "cannot replace container without --name being set")
        return new_name(records.has_name)
    name = check_name(options.name)
    if options.replace and records.has_name(name):
        discard_by_force(records, records.find(name), 0, signal.SIGKILL)
    return name


def _write_id(path: str, identity: str) -> None:
    try:
        with open(path, "x") as file:
            file.write(identity)
    except FileExistsError as error:
        raise NsbuildError(
            f"container id file exists. Ensure another container is not using it or delete {path}"
        ) from error
    except OSError as error:
        raise NsbuildError.from_os(f"cannot write the --cidfile {path}", error) from error


def _argv(options: argparse.Namespace, config: dict[str, Any]) -> tuple[tuple[str, ...], list[str]]:
    """The words of the command, and those of its entry point, with which they begin."""
    given = options.entrypoint
    entrypoint = (
        list(config.get("Entrypoint") or []) if given is None else runvalues.entrypoint(given)
    )
    # Who replaces the entry point means something else by the words behind it.
    command = list(options.command or ([] if given is not None else config.get("Cmd") or []))
    argv = tuple(entrypoint + command)
    need(bool(argv), "no command or entrypoint provided, and no CMD or ENTRYPOINT from image")
    return argv, entrypoint


def _spec(
    options: argparse.Namespace, source: Source, directory: str, argv: tuple[str, ...]
) -> ContainerSpec:
    given = vars(options)
    settings = Settings({name: given.get(name.replace("-", "_")) for name in DEFAULTS})
    label = (source.config.get("Labels") or {}).get(EPOCH_LABEL)
    chosen = Options(settings, source.epoch_root(), label)
    return ContainerSpec(
        root=_root(options, source, directory, chosen),
        command=_command(options, source.config, argv, chosen),
        scheduling=chosen.scheduling(),
        rules=chosen.rules(),
        profile=chosen.profile(),
    )


def _root(options: argparse.Namespace, source: Source, directory: str, chosen: Options) -> RootSpec:
    mounts = [runvalues.mount(text) for text in options.mount]
    volumes = [*map(runvalues.volume, options.volume)]
    volumes.extend(one for one in mounts if isinstance(one, Volume))
    tmpfs = [*map(values.tmpfs, options.tmpfs)]
    tmpfs.extend(one for one in mounts if isinstance(one, Tmpfs))
    covered = {one.target for one in volumes} | {one.target for one in tmpfs}
    if options.read_only:
        # As Podman's --read-only-tmpfs, which is its default.
        tmpfs.extend(Tmpfs(t) for t in ("/run", "/tmp", "/var/tmp") if t not in covered)
    declared = sorted(map(os.path.normpath, source.config.get("Volumes") or {}))
    kept = [
        Volume(os.path.join(directory, VOLUMES, str(number)), target)
        for number, target in enumerate(declared)
        if target not in covered and target.startswith("/")
    ]
    layered = bool(source.layers)
    return RootSpec(
        target=os.path.join(directory, UPPER) if layered else source.directory,
        read_only=options.read_only,
        volumes=tuple(volumes),
        tmpfs=tuple(tmpfs),
        network=options.network,
        hosts=os.path.join(directory, members.HOSTS) if is_private(options.network) else "",
        identity=chosen.identity,
        boot_time=chosen.epoch,
        cpu_model=chosen.cpu_model,
        layers=source.layers,
        work=os.path.join(directory, WORK) if layered else "",
        scratch=False,
        kept=tuple(kept),
        workdir="" if options.workdir else source.config.get("WorkingDir") or "",
    )


def _command(
    options: argparse.Namespace, config: dict[str, Any], argv: tuple[str, ...], chosen: Options
) -> CommandSpec:
    texts = [line for path in options.env_file for line in values.env_file(path)]
    asked = dict(filter(None, map(values.variable, [*texts, *options.env])))
    image = dict(text.partition("=")[::2] for text in config.get("Env") or [])
    host = dict(os.environ) if options.env_host else {}
    term = "xterm" if options.tty else None
    base = {
        **chosen.environment(term),
        "container": "nsbuild",
        "HOSTNAME": chosen.identity.hostname,
    }
    environment = compose(base, {**image, **host}, asked)
    for name in options.unsetenv:
        environment.pop(name, None)
    return CommandSpec(
        argv=argv,
        environment=environment,
        workdir=os.path.join("/", options.workdir or config.get("WorkingDir") or "/"),
        user=options.user or config.get("User") or None,
        interactive=options.interactive,
        tty=options.tty,
        limits=tuple(map(runvalues.ulimit, options.ulimit)),
        bounding=runvalues.bounding(options.cap_add, options.cap_drop, options.privileged),
    )


def print_id(record: Record) -> None:
    """The full id on stdout."""
    sys.stdout.write(f"{record.id}\n")
    sys.stdout.flush()
