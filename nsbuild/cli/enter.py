"""nsbuild exec with a container's name: one more command in a container that runs.

It is in the container's namespaces and under its supervisor; see nsbuild.supervisor.entrants for
what its clock is.
"""

from __future__ import annotations

import argparse
import os

from nsbuild.cli import podman, values
from nsbuild.cli.containers import open_records
from nsbuild.cli.settings import DEFAULTS
from nsbuild.container.names import new_id
from nsbuild.container.records import RUNNING, Record, Records
from nsbuild.container.spec import CommandSpec
from nsbuild.container.specjson import decode
from nsbuild.container.visit import enter
from nsbuild.errors import NsbuildError

_EXIT_STATE = 255
"""What podman-exec exits with where the container does not run."""
_ONLY_AT_THE_START = ("network", "volume", "tmpfs", "read_only", "env_host", "trace")


def main(options: argparse.Namespace) -> int:
    """Run `options.command` in the container `options.target`; returns the exit code."""
    podman.begin()
    records = open_records()
    record = _find(records, options.target)
    directory = records.directory(record.id)
    records.close()
    _refuse_what_is_decided(options)
    if record.state != RUNNING:
        raise NsbuildError(
            "can only create exec sessions on running containers: container state improper",
            code=_EXIT_STATE,
        )
    code = enter(directory, _command(options, decode(record.spec).command), options.detach)
    if options.detach and not code:
        # As Podman does; nothing asks for it later.
        print(new_id(), flush=True)
    return code


def _find(records: Records, name: str) -> Record:
    try:
        return records.find(name)
    except NsbuildError as error:
        # Whoever has left TARGET out has named a command.
        raise NsbuildError(
            error.message, f"nor is there a directory {name}; TARGET / is the host's own root"
        ) from error


def _refuse_what_is_decided(options: argparse.Namespace) -> None:
    """Options that say how a container is made mean nothing for one that runs."""
    given = vars(options)
    names = [name for name in DEFAULTS if given[name.replace("-", "_")] is not None]
    names += [name for name in _ONLY_AT_THE_START if given[name] not in (None, [], False, "none")]
    if names:
        shown = names[0].replace("_", "-")
        raise NsbuildError(
            f"--{shown} cannot be given for the container {options.target}, which runs already"
        )


def _command(options: argparse.Namespace, first: CommandSpec) -> CommandSpec:
    texts = [line for path in options.env_file for line in values.env_file(path)]
    asked = dict(filter(None, map(values.variable, [*texts, *options.env])))
    term = {"TERM": os.environ.get("TERM", "xterm")} if options.tty else {}
    return CommandSpec(
        argv=tuple(options.command),
        environment={**first.environment, **term, **asked},
        workdir=os.path.join(first.workdir, options.workdir) if options.workdir else first.workdir,
        user=options.user or first.user,
        interactive=options.interactive,
        tty=options.tty,
        bounding=None if options.privileged else first.bounding,
    )
