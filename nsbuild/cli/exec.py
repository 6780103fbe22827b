"""nsbuild exec: run a command deterministically in a root directory, or in the host's own root."""

from __future__ import annotations

import argparse
import os

from nsbuild.cli import values
from nsbuild.cli.formatter import Formatter
from nsbuild.cli.parser import Parser
from nsbuild.cli.rules import Options
from nsbuild.cli.sameness import add_determinism
from nsbuild.cli.settings import DEFAULTS, Settings, debug_wanted
from nsbuild.container.environment import compose
from nsbuild.container.front import run_container
from nsbuild.container.spec import CommandSpec, ContainerSpec, RootSpec
from nsbuild.errors import NsbuildError

_DESCRIPTION = """\
Run COMMAND in the root directory TARGET so that it gives the same result every time: its clocks
move only when they are read, its random numbers follow from a seed, and it has one CPU. TARGET /
is the host's own root, read-only under a throw-away overlay, with the working directory writable.
"""

_EPILOG = """\
The exit status is the command's own; 128+n if signal n killed it; 125 if nsbuild itself failed;
126 if the command cannot be invoked; 127 if it was not found. See nsbuild-exec(1).
"""


def make_parser() -> Parser:
    """The parser of `nsbuild exec`."""
    parser = Parser(
        prog="nsbuild exec",
        usage="nsbuild exec [OPTIONS] TARGET COMMAND [ARG...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    add_determinism(parser)
    _add_container(parser)
    parser.add_argument("target", metavar="TARGET", help="a root directory, /, or a container")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER)
    return parser


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
    add("-d", "--detach", action="store_true", help="in a container: leave it to itself")
    add("--env-file", metavar="FILE", action="append", default=[], help="a file of variables")
    add("--privileged", action="store_true", help="in a container: with all capabilities")
    add("--debug", action="store_true", help="show each step on stderr")
    add("--trace", metavar="FILE", help="write one line for each answer to FILE")


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    options = make_parser().parse_args(arguments)
    if not options.command:
        raise NsbuildError("no command given", "see nsbuild exec --help")
    if "/" not in options.target and not os.path.isdir(options.target):
        from nsbuild.cli import enter

        return enter.main(options)
    if options.detach or options.privileged:
        name = "--detach" if options.detach else "--privileged"
        raise NsbuildError(f"{name} is for a container that runs, not for a directory")
    return run_container(container_spec(options))


def container_spec(options: argparse.Namespace) -> ContainerSpec:
    """What the options ask for; raises NsbuildError for a value that makes no sense."""
    target = os.path.realpath(options.target)
    cwd = values.working_directory("it may have been removed") if target == "/" else "/"
    given = vars(options)
    settings = Settings({name: given[name.replace("-", "_")] for name in DEFAULTS})
    chosen = Options(settings, target)
    return ContainerSpec(
        root=_root(options, target, cwd, chosen),
        command=_command(options, cwd, chosen),
        scheduling=chosen.scheduling(),
        rules=chosen.rules(),
        profile=chosen.profile(),
        trace=options.trace,
        debug=options.debug or debug_wanted(),
        state=chosen.state,
    )


def _root(options: argparse.Namespace, target: str, cwd: str, chosen: Options) -> RootSpec:
    return RootSpec(
        target=target,
        writable_cwd=cwd if target == "/" else None,
        read_only=options.read_only,
        volumes=tuple(map(values.volume, options.volume)),
        tmpfs=tuple(map(values.tmpfs, options.tmpfs)),
        network=options.network,
        identity=chosen.identity,
        boot_time=chosen.epoch,
        cpu_model=chosen.cpu_model,
    )


def _command(options: argparse.Namespace, cwd: str, chosen: Options) -> CommandSpec:
    texts = [line for path in options.env_file for line in values.env_file(path)]
    asked = dict(filter(None, map(values.variable, [*texts, *options.env])))
    term = os.environ.get("TERM", "xterm") if options.tty else None
    host = dict(os.environ) if options.env_host else None
    base = chosen.environment(term)
    return CommandSpec(
        argv=tuple(options.command),
        environment=compose(base, host, asked),
        workdir=os.path.join(cwd, options.workdir) if options.workdir else cwd,
        user=options.user,
        interactive=options.interactive,
        tty=options.tty,
    )
