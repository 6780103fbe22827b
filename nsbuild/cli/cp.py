"""nsbuild cp: copy files and directories into and out of containers, as podman-cp(1) does.

A directory is copied as one of that name into a directory that exists, or becomes one that does
not; with `/.` behind it, what is in it is copied. `-` is a tar archive on stdin or stdout.
"""

from __future__ import annotations

import os
import sys
import tarfile

from nsbuild.cli import podman
from nsbuild.cli.containers import open_records
from nsbuild.container.copying import Owner, copy, copy_contents, opened
from nsbuild.container.records import Record, Records
from nsbuild.container.view import inside
from nsbuild.errors import NsbuildError
from nsbuild.images.store import Store
from nsbuild.tuples import NamedTuple

ROOT: Owner = (0, 0)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Source(NamedTuple):
    """What is copied: `name` in the open directory `parent`; with `contents`, what is in it."""

    parent: int
    name: str
    directory: bool
    contents: bool


class Target(NamedTuple):
    """Where to: `name` in the open directory `parent`; whether it `exists` as a directory."""

    parent: int
    name: str
    exists: bool
    wants_directory: bool


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild cp`."""
    parser = podman.PodmanParser(
        "cp", "[CONTAINER:]SOURCE [CONTAINER:]TARGET", "Copy into or out of a container."
    )
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("target", metavar="TARGET")
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    options = make_parser().parse_args(arguments)
    from_name, source = _split(options.source)
    to_name, target = _split(options.target)
    podman.need(bool(from_name or to_name), "name or ID cannot be empty")
    records = open_records()
    giver, taker = (_found(records, name) if name else None for name in (from_name, to_name))
    if giver is not None and taker is not None:
        _copy_between(records, giver, taker, source, target)
    elif taker is not None:
        _copy_in(records, taker, source, target)
    elif giver is not None:
        _copy_out(records, giver, source, target)
    return 0


def _found(records: Records, name: str) -> Record:
    try:
        return records.find(name)
    except NsbuildError as error:
        raise NsbuildError(f'container "{name}" does not exist') from error


def _copy_between(records: Records, giver: Record, taker: Record, source: str, target: str) -> None:
    """By way of the host, since nobody is in two containers at once."""
    with Store.default().place.workshop() as shop:
        half = shop.at("copy")
        os.mkdir(half)
        _copy_out(records, giver, source, half)
        name = "." if source.endswith("/.") else os.path.basename(os.path.normpath(source)) or "."
        _copy_in(records, taker, os.path.join(half, name), target)


def _split(text: str) -> tuple[str, str]:
    """The container, or "", and the path. What begins with a slash or a dot is no container."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        return "", text
    return name, os.path.join("/", path)


def _copy_in(records: Records, record: Record, source: str, target: str) -> None:
    if source == "-":

        def extract() -> None:
            podman.need(os.path.isdir(target), f'destination "{target}" must be a directory')
            try:
                with tarfile.open(fileobj=sys.stdin.buffer, mode="r|*") as archive:
                    # The root is the container's, so that no name in it leads anywhere else.
                    archive.extraction_filter = lambda member, _: member
                    archive.extractall(target, numeric_owner=True)
            except tarfile.TarError as error:
                raise NsbuildError(f"standard input is no tar archive: {error}") from error

        inside(records, record, extract)
        return
    found = _source(source, "the host")

    def act() -> None:
        _copy(found, _target(target), ROOT)

    inside(records, record, act)


def _copy_out(records: Records, record: Record, source: str, target: str) -> None:
    where = None if target == "-" else _target(target)

    def act() -> None:
        found = _source(source, f"container {record.name}")
        if where is not None:
            _copy(found, where, None)
            return
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
            os.fchdir(found.parent)
            archive.add(found.name)
        sys.stdout.buffer.flush()

    inside(records, record, act)


def _source(path: str, where: str) -> Source:
    """Opened now, since a path means something else once the root has changed."""
    contents = path.endswith("/.") or path == "."
    plain = os.path.realpath(path) if contents else os.path.normpath(path)
    parent, name = os.path.split(os.path.abspath(plain))
    try:
        fd = os.open(parent, _DIRECTORY)
        directory = os.path.isdir(plain) and (contents or not os.path.islink(plain))
        os.stat(name or ".", dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        raise NsbuildError(
            f'"{path}" could not be found on {where}: no such file or directory'
        ) from error
    return Source(fd, name or ".", directory, contents or not name)


def _target(path: str) -> Target:
    real = os.path.realpath(path)
    exists = os.path.isdir(real)
    parent, name = os.path.split(real)
    try:
        return Target(os.open(parent, _DIRECTORY), name or ".", exists, path.endswith("/"))
    except OSError as error:
        raise NsbuildError(f'"{parent}" could not be found: no such file or directory') from error


def _copy(source: Source, target: Target, owner: Owner | None) -> None:
    if not source.directory:
        podman.need(
            target.exists or not target.wants_directory,
            f'"{target.name}/" could not be found: no such file or directory',
        )
    if target.exists:
        with opened(target.parent, target.name) as outer:
            if not source.contents:
                copy(source.parent, source.name, outer, source.name, owner)
                return
            with opened(source.parent, source.name) as inner:
                copy_contents(inner, outer, owner)
        return
    copy(source.parent, source.name, target.parent, target.name, owner)
