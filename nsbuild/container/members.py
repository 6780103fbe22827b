"""Who is in a network of containers: numbers by the order of creation, and the names of all.

A container has the smallest number that no other of its network has, from the moment at which it is
put on record until it is removed; those that are made again in the same order have the same ones
again. Each has a hosts file in its directory with the names of all. Whoever adds, starts or removes
one writes those files anew, in place, since the containers that run have them mounted. All of it
happens under one lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

from nsbuild.container import network
from nsbuild.container.records import RUNNING, Record, Records, is_alive
from nsbuild.container.spec import ContainerSpec, RootSpec
from nsbuild.container.specjson import decode
from nsbuild.errors import NsbuildError

HOSTS = "hosts"
"""The file's name in a container's directory."""
_LOCK = "networks.lock"


def add(records: Records, root: RootSpec, make: Callable[[RootSpec], Record]) -> Record:
    """Put on record what `make` makes of `root` with an address in its network.

    Raises NsbuildError: a name that is taken, or a network that is full.
    """
    with _locked(records):
        taken = {spec.root.address for _, spec in _members(records, root.network)}
        free = (one for one in map(network.address_of, network.NUMBERS) if one not in taken)
        address = next(free, None)
        if address is None:
            raise NsbuildError(f"the network {root.network} is full: it has {len(taken)} addresses")
        record = make(root._replace(address=address))
        records.add(record)
    return record


def join(records: Records, record: Record) -> None:
    """Be, as the front of a container that is on record as running, where its network is.

    Does nothing for one that has no network of containers. Raises NsbuildError.
    """
    own = decode(record.spec).root.network
    if not network.is_private(own):
        return
    with _locked(records):
        _write_hosts(records, own)
        candidates: list[int] = []
        try:
            for other, _ in _members(records, own):
                if other.state == RUNNING and other.id != record.id:
                    candidates.extend(_namespace_of(other))
            network.enter_hub(candidates)
        finally:
            for fd in candidates:
                os.close(fd)


def update(records: Records, spec: ContainerSpec) -> None:
    """Tell all in the network of a container that it is there, or is there no more."""
    if network.is_private(spec.root.network):
        with _locked(records):
            _write_hosts(records, spec.root.network)


def _members(records: Records, name: str) -> list[tuple[Record, ContainerSpec]]:
    found = ((record, decode(record.spec)) for record in records.all())
    return [(record, spec) for record, spec in found if spec.root.network == name]


def _namespace_of(record: Record) -> Iterator[int]:
    """The network namespace of a container's front, opened, unless that is gone."""
    try:
        fd = os.open(f"/proc/{record.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    # Now, because the number may be another's since.
    if is_alive(record):
        yield fd
    else:
        os.close(fd)


def _write_hosts(records: Records, name: str) -> None:
    members = _members(records, name)
    members.sort(key=lambda member: int(member[1].root.address.rpartition(".")[2]))
    for record, spec in members:
        lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
        for other, its in members:
            # Its own address is what the machine's name means inside.
            alias = f" {spec.root.identity.hostname}" if other is record else ""
            lines.append(f"{its.root.address}\t{other.name}{alias}")
        text = "".join(f"{line}\n" for line in lines).encode()
        # One that is made or removed just now has no directory.
        with contextlib.suppress(FileNotFoundError):
            path = os.path.join(records.directory(record.id), HOSTS)
            _put(path, text, spec.rules.rates.epoch)


def _put(path: str, text: bytes, time: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.fstat(fd).st_size != len(text) or _content(path) != text:
            # In one write, so that nobody reads half of it, nor an end of it that is gone.
            os.pwrite(fd, text.ljust(os.fstat(fd).st_size, b"\n"), 0)
            os.ftruncate(fd, len(text))
        os.fchmod(fd, 0o644)
        os.utime(fd, ns=(time, time))
    finally:
        os.close(fd)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@contextlib.contextmanager
def _locked(records: Records) -> Iterator[None]:
    path = os.path.join(records.place, _LOCK)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NsbuildError.from_os(f"cannot open {path}", error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
