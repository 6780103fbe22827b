"""What a container is to be: plain values, decided by the command line, described by --debug.

Nothing here acts. Named tuples rather than dataclasses, because importing dataclasses costs
16 ms of every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsbuild.container.contract import Contract
from nsbuild.supervisor.rules import Rules
from nsbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from nsbuild.container.state import State


class Volume(NamedTuple):
    """A bind mount: `source` on the host, `target` an absolute path in the container."""

    source: str
    target: str
    read_only: bool = False


class Tmpfs(NamedTuple):
    """A tmpfs at `target`; `options` as tmpfs(5) takes them, comma separated, perhaps empty."""

    target: str
    options: str = ""


class Identity(NamedTuple):
    """Who the machine says it is (uname(2), machine-id(5))."""

    hostname: str = "nsbuild"
    domainname: str = "(none)"
    machine_id: str = "6e736275696c6400000000000000ab1e"
    boot_id: str = "6e736275-696c-4400-8000-00000000b007"
    release: str = "6.1.0-nsbuild"
    version: str = "#1 SMP PREEMPT_DYNAMIC"
    machine: str = "x86_64"


class RootSpec(NamedTuple):
    """The file system that the command sees.

    `target` is the absolute host path of the root directory; "/" means the host's own root,
    read-only under a throw-away overlay, with `writable_cwd` bind-mounted writable. `boot_time` is
    what /proc/stat says as btime, in seconds since 1970; `cpu_model` one of `cpumodel.MODELS`.
    With `in_place` the root is the target as it stands, "/" too, as chroot(1) has it: nothing is
    made in it, and nothing hidden but what differs on every run. `target` may then be relative.
    With `layers` (host directories, lowest first) the root is an overlay of them, and what is
    written goes to `target`, with `work` as overlayfs's working directory. `scratch` says whether
    /tmp and /run are the container's own, empty and gone with it. What is written below the targets
    of `kept` goes into `upper` in their sources instead.
    """

    target: str
    writable_cwd: str | None = None
    read_only: bool = False
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    network: str = "none"
    """none, host, private or private:NAME; a `private` one is shared by containers."""
    identity: Identity = Identity()
    boot_time: int = 1450797978
    cpu_model: str = "host"
    in_place: bool = False
    layers: tuple[str, ...] = ()
    work: str = ""
    scratch: bool = True
    kept: tuple[Volume, ...] = ()
    resolver: bool = True
    """Whether, with the host's network, /etc/resolv.conf is the host's."""
    address: str = ""
    """That of the container in a private network."""
    hosts: str = ""
    """The host's file that is /etc/hosts there."""
    workdir: str = ""
    """A directory inside that is made where it is missing: the one that an image declares."""


class Manners(NamedTuple):
    """How another program says what became of the command, for a verb that stands in for it."""

    failures: dict[int, str]
    """Stage of a start that failed (see `handover`) -> text with the command's fields in it."""
    killed: int
    """The exit status for a command that a signal has ended."""

    def failure(self, stage: int, command: CommandSpec) -> str:
        """What could not be done with `command`."""
        return self.failures[stage].format(command=command)


class CommandSpec(NamedTuple):
    """What runs: `user` is USER[:GROUP] in the container's own names, or None for root.

    `environment` is complete but for what depends on the user; `workdir` is a path inside. With a
    `contract`, that says who it is and what is in its environment. `limits` are resource limits:
    number, soft, hard; `bounding` the capabilities that programs can have, by number, None for all.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    workdir: str = "/"
    user: str | None = None
    interactive: bool = False
    tty: bool = False
    contract: Contract | None = None
    manners: Manners | None = None
    limits: tuple[tuple[int, int, int], ...] = ()
    bounding: frozenset[int] | None = None


class SchedulingSpec(NamedTuple):
    """Where and how it runs: `cpu` None means the least used one; `policy` fifo, other or auto.

    `spin_bound` is CPU seconds after which a spinning thread lets others run.
    """

    cpu: int | None = None
    policy: str = "auto"
    spin_bound: float = 5.0


class ContainerSpec(NamedTuple):
    """All of it: the one object that drives the work and that --debug shows.

    `state` is for a build of several calls; what it has read is in `rules`.
    """

    root: RootSpec
    command: CommandSpec
    scheduling: SchedulingSpec = SchedulingSpec()
    rules: Rules = Rules()
    profile: str = "default"
    own_users: bool = True
    """Whether to make a user namespace; without one, root inside has the caller's rights."""
    trace: str | None = None
    debug: bool = False
    state: State | None = None
