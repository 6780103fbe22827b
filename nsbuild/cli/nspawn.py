"""nsbuild nspawn: `systemd-nspawn -D DIR COMMAND`, and the command does the same on every run.

For scripts that enter a root that way: the argument vector, the messages about it and the exit
codes are those of systemd-nspawn(1), the container is that of `nsbuild exec`. No service of systemd
is asked, so it works where none runs, and for ordinary users.
"""

from __future__ import annotations

import os
import sys

from nsbuild.cli import gnuopt
from nsbuild.cli.nspawnoptions import Asked, ask
from nsbuild.cli.settings import Settings, debug_wanted
from nsbuild.container.handover import STAGE_EXEC, STAGE_IDS, STAGE_WORKDIR
from nsbuild.container.spec import CommandSpec, ContainerSpec, Manners, RootSpec
from nsbuild.errors import report, speak_as

EXIT_FAILURE = 1
"""What systemd-nspawn has for all that it fails with itself, a command that is missing included."""
_MANNERS = Manners(
    {
        STAGE_EXEC: "execv({command.argv[0]}) failed",
        STAGE_WORKDIR: "Failed to change to specified working directory {command.workdir}",
        STAGE_IDS: "Failed to become user {command.user}",
    },
    # As with --as-pid2, which is how every command runs here.
    killed=255,
)
_SHELL = "cd; [ ! -x /bin/bash ] || exec /bin/bash -l; exec /bin/sh -l"
"""A login shell in the user's home, or in / if there is none."""

_HELP = """\
nsbuild nspawn [OPTIONS...] [PATH] [ARGUMENTS...]

Run PATH in a directory's root, as systemd-nspawn does, so that it does the same on every run.

  -D --directory=PATH       Root directory (the working directory)
  -M --machine=NAME         Host name; without -D the root is /var/lib/machines/NAME
     --hostname=NAME        Override the host name
     --uuid=UUID            Set the machine's UUID
  -u --user=USER            Run the command as this user
     --chdir=PATH           Set the working directory
  -E --setenv=NAME[=VALUE]  Set an environment variable
     --bind=PATH[:PATH]     Bind mount a file or directory
     --bind-ro=PATH[:PATH]  The same, read-only
     --tmpfs=PATH[:OPTIONS] Mount a tmpfs
     --read-only            Make the root read-only
     --private-network      No network but a loopback
     --resolv-conf=MODE     off: leave /etc/resolv.conf; auto, bind-host: the host's
     --console=MODE         interactive, read-only, pipe or autopipe
  -P --pipe                 Equivalent to --console=pipe
  -q --quiet                Do not show status information
  -a --as-pid2, --keep-unit, --register=no, --settings=no, --private-users=no, --timezone=off,
     --link-journal=no, --no-pager
                            Are so anyway
  -h --help                 Show this help
     --version              Print version string

Of nsbuild exec it takes --epoch, --step, --seed and whatever else is about what the command sees,
unabbreviated; each can be a variable such as NSBUILD_SEED, or a line of /etc/nsbuild.toml.
Other options of systemd-nspawn are refused. See nsbuild-nspawn(1).
"""


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    speak_as("systemd-nspawn", quiet=False, failure=EXIT_FAILURE)
    try:
        asked = ask(arguments)
    except gnuopt.Unknown as error:
        report(str(error))
        return EXIT_FAILURE
    if isinstance(asked, str):
        return _tell(asked)
    return _spawn(asked)


def _spawn(asked: Asked) -> int:
    from nsbuild.container.front import run_container

    spec = container_spec(asked)
    speak_as("systemd-nspawn", quiet=asked.quiet and not spec.debug, failure=EXIT_FAILURE)
    _status(asked, f"Spawning container {asked.machine} on {asked.directory}.")
    code = run_container(spec)
    end = f"failed with error code {code}" if code else "exited successfully"
    _status(asked, f"Container {asked.machine} {end}.")
    return code


def _status(asked: Asked, text: str) -> None:
    if not asked.quiet and sys.stderr is not None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def container_spec(asked: Asked) -> ContainerSpec:
    """The container; raises NsbuildError for a value that makes no sense."""
    from nsbuild.cli.rules import Options

    chosen = Options(Settings(asked.settings), asked.directory)
    root = RootSpec(
        target=asked.directory,
        read_only=asked.read_only,
        volumes=asked.volumes,
        tmpfs=asked.tmpfs,
        network="none" if asked.private_network else "host",
        identity=chosen.identity,
        boot_time=chosen.epoch,
        cpu_model=chosen.cpu_model,
        resolver=asked.resolver,
    )
    return ContainerSpec(
        root=root,
        command=_command(asked, chosen.epoch, chosen.cpu_model, chosen.identity.machine_id),
        scheduling=chosen.scheduling(),
        rules=chosen.rules(),
        profile=chosen.profile(),
        trace=asked.settings.get("trace"),
        debug="debug" in asked.settings or debug_wanted(),
        state=chosen.state,
    )


def _command(asked: Asked, epoch: int, cpu_model: str, machine_id: str) -> CommandSpec:
    from nsbuild.cli import values
    from nsbuild.container import cpumodel
    from nsbuild.container.environment import base_environment, compose

    terminal = os.isatty(0) and os.isatty(1)
    console = asked.console or ("interactive" if terminal else "read-only")
    if console == "autopipe":
        console = "interactive" if terminal else "pipe"
    tty = console == "interactive"
    base = base_environment(epoch, os.environ.get("TERM", "xterm") if tty else None)
    # A build inside has its own, from its changelog or not at all.
    del base["SOURCE_DATE_EPOCH"]
    uuid = "-".join(machine_id[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
    base |= {"container": "systemd-nspawn", "container_uuid": uuid}
    given = dict(filter(None, map(values.variable, asked.environment)))
    return CommandSpec(
        argv=asked.command or ("/bin/sh", "-c", _SHELL),
        environment=compose({**base, **cpumodel.variables(cpu_model)}, None, given),
        workdir=asked.workdir or "/",
        user=asked.user,
        interactive=console in ("interactive", "pipe"),
        tty=tty,
        manners=_MANNERS,
    )


def _tell(what: str) -> int:
    from nsbuild import __version__

    return gnuopt.tell(_HELP if what == "help" else f"systemd-nspawn (nsbuild) {__version__}\n")
