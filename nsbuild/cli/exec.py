"""nsbuild exec: run a command deterministically in a root directory, or in the host's own root."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from nsbuild.cli import values
from nsbuild.container import cpumodel
from nsbuild.container.environment import base_environment, compose
from nsbuild.container.front import run_container
from nsbuild.container.spec import (
    CommandSpec,
    ContainerSpec,
    Identity,
    RootSpec,
    SchedulingSpec,
)
from nsbuild.determinism.clock import NSEC_PER_SEC, Rates
from nsbuild.errors import NsbuildError
from nsbuild.supervisor.loop import Rules

_DESCRIPTION = """\
Run COMMAND in the root directory TARGET so that it gives the same result every time: its clocks
move only when they are read, its random numbers follow from a seed, and it has one CPU. TARGET /
is the host's own root, read-only under a throw-away overlay, with the working directory writable.
"""

_EPILOG = """\
The exit status is the command's own; 128+n if signal n killed it; 125 if nsbuild itself failed;
126 if the command cannot be invoked; 127 if it was not found. See nsbuild-exec(1).
"""


class Parser(argparse.ArgumentParser):
    """Reports usage errors as everything else is reported: one line, exit code 125."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        raise NsbuildError(message, f"see {self.prog} --help")


def make_parser() -> Parser:
    """The parser of `nsbuild exec`."""
    parser = Parser(
        prog="nsbuild exec",
        usage="nsbuild exec [OPTIONS] TARGET COMMAND [ARG...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    _add_determinism(parser)
    _add_container(parser)
    parser.add_argument("target", metavar="TARGET", help="a root directory, or / for the host's")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER)
    return parser


def _add_determinism(parser: Parser) -> None:
    group = parser.add_argument_group("what the command sees")
    add = group.add_argument
    add("--epoch", metavar="TIME", help="first time read: seconds since 1970 or ISO 8601")
    add("--step", metavar="SPAN", default="1", help="what each read of the wall clock adds (1)")
    add("--monotonic-step", metavar="SPAN", default="1ms", help="the same for monotonic time (1ms)")
    add("--seed", metavar="N", help="what all random streams follow from (0)")
    add(
        "--clock",
        choices=("causal", "global"),
        default="causal",
        help="one clock a process, or one",
    )
    add("--state", metavar="DIR", help="go on where the last call with DIR has stopped")
    add("--cpu", metavar="N|auto", default="auto", help="the CPU to run on (auto)")
    add(
        "--cpu-model",
        choices=cpumodel.MODELS,
        default=cpumodel.HOST,
        help="what is known of that CPU (host)",
    )
    add("--sched", choices=("fifo", "other", "auto"), default="auto", help="scheduling policy")
    add("--spin-bound", metavar="SPAN", default="5", help="CPU time a spinning thread may keep (5)")
    add("--profile", metavar="NAME|FILE", default="default", help="seccomp profile")
    identity = Identity()
    add("--hostname", default=identity.hostname, help=f"({identity.hostname})")
    add("--domainname", default=identity.domainname, help=f"({identity.domainname})")
    add("--machine-id", default=identity.machine_id, help="32 hexadecimal digits")
    add("--uname-release", default=identity.release, help=f"({identity.release})")
    add("--uname-version", default=identity.version, help=f"({identity.version})")


def _add_container(parser: Parser) -> None:
    group = parser.add_argument_group("what the command can do")
    add = group.add_argument
    add("--network", choices=("none", "host"), default="none", help="loopback only, or the host's")
    add("-e", "--env", metavar="NAME[=VALUE]", action="append", default=[], help="set a variable")
    add("--env-host", action="store_true", help="start from the caller's environment")
    add("-w", "--workdir", metavar="DIR", help="working directory inside")
    add("-u", "--user", metavar="USER[:GROUP]", help="who to be inside (root)")
    add("-v", "--volume", metavar="SRC:DST[:ro]", action="append", default=[], help="bind mount")
    add("--tmpfs", metavar="DST[:OPTS]", action="append", default=[], help="mount a tmpfs")
    add("--read-only", action="store_true", help="make the root read-only")
    add("-i", "--interactive", action="store_true", help="pass stdin on; without it, it is empty")
    add("-t", "--tty", action="store_true", help="give the command a terminal of its own")
    add("--debug", action="store_true", help="show each step on stderr")
    add("--trace", metavar="FILE", help="write one line for each answer to FILE")


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    options = make_parser().parse_args(arguments)
    if not options.command:
        raise NsbuildError("no command given", "see nsbuild exec --help")
    return run_container(container_spec(options))


def container_spec(options: argparse.Namespace) -> ContainerSpec:
    """What the options ask for; raises NsbuildError for a value that makes no sense."""
    target = os.path.realpath(options.target)
    cwd = _working_directory() if target == "/" else "/"
    state = values.open_state(options.state)
    epoch = values.choose_epoch(options.epoch, target, state)
    rates = Rates(
        epoch * NSEC_PER_SEC,
        values.duration("--step", options.step),
        values.duration("--monotonic-step", options.monotonic_step),
    )
    identity = _identity(options)
    return ContainerSpec(
        root=_root(options, target, cwd, identity)._replace(boot_time=epoch),
        command=_command(options, cwd, epoch),
        scheduling=SchedulingSpec(
            values.cpu("--cpu", options.cpu),
            options.sched,
            values.duration("--spin-bound", options.spin_bound) / NSEC_PER_SEC,
        ),
        rules=Rules(
            rates,
            values.choose_seed(options.seed, state),
            options.clock == "global",
            (identity.release, identity.version, identity.machine),
            None if state is None else state.earlier(rates.step),
        ),
        profile=options.profile,
        trace=options.trace,
        debug=options.debug,
        state=state,
    )


def _identity(options: argparse.Namespace) -> Identity:
    name = r"[\x21-\x7e]{1,64}"
    check = values.pattern
    return Identity(
        hostname=check("--hostname", options.hostname, r"[A-Za-z0-9._-]{1,64}", "a host name"),
        domainname=check("--domainname", options.domainname, name, "a domain name"),
        machine_id=check("--machine-id", options.machine_id, "[0-9a-f]{32}", "32 hex digits"),
        release=check("--uname-release", options.uname_release, name, "a kernel release"),
        version=check("--uname-version", options.uname_version, r"[\x20-\x7e]{1,64}", "a version"),
    )


def _root(options: argparse.Namespace, target: str, cwd: str, identity: Identity) -> RootSpec:
    return RootSpec(
        target=target,
        writable_cwd=cwd if target == "/" else None,
        read_only=options.read_only,
        volumes=tuple(map(values.volume, options.volume)),
        tmpfs=tuple(map(values.tmpfs, options.tmpfs)),
        network=options.network,
        identity=identity,
        cpu_model=options.cpu_model,
    )


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise NsbuildError.from_os(
            "cannot find the working directory", error, "it may have been removed"
        ) from error


def _command(options: argparse.Namespace, cwd: str, epoch: int) -> CommandSpec:
    asked = dict(filter(None, map(values.variable, options.env)))
    term = os.environ.get("TERM", "xterm") if options.tty else None
    host = dict(os.environ) if options.env_host else None
    base = {**base_environment(epoch, term), **cpumodel.variables(options.cpu_model)}
    return CommandSpec(
        argv=tuple(options.command),
        environment=compose(base, host, asked),
        workdir=os.path.join(cwd, options.workdir) if options.workdir else cwd,
        user=options.user,
        interactive=options.interactive,
        tty=options.tty,
    )
