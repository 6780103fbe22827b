"""nsbuild chroot: what coreutils' chroot does, and the command does the same on every run.

Options, messages, exit codes and what the command finds are those of chroot(1); nsbuild's own
options come from the environment or /etc/nsbuild.toml as well, because who calls chroot knows none.
Inside a container of nsbuild's a plain chroot is enough, since everything in it is supervised.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

from nsbuild.cli import gnuopt
from nsbuild.cli.settings import DEFAULTS, Settings, debug_wanted
from nsbuild.container.contract import Caller, Contract, set_aside
from nsbuild.container.quoting import shell_quote
from nsbuild.container.userspec import Found, Wanted, look_outside
from nsbuild.errors import EXIT_OURS, NsbuildError, report, speak_as, warn
from nsbuild.kernel import children
from nsbuild.kernel.namespaces import PERSONALITY_QUERY, personality
from nsbuild.kernel.seccomp import under_nsbuild

THEIRS = {"groups": True, "userspec": True, "skip-chdir": False, "help": False, "version": False}
OURS = {**dict.fromkeys(DEFAULTS, True), "trace": True, "debug": False}

_HELP = """\
Usage: chroot [OPTION] NEWROOT [COMMAND [ARG]...]
  or:  chroot OPTION
Run COMMAND with root directory set to NEWROOT so that it does the same on every run.

  --groups=G_LIST        specify supplementary groups as g1,g2,..,gN
  --userspec=USER:GROUP  specify user and group (ID or name) to use
  --skip-chdir           do not change working directory to '/'
  --help                 display this help and exit
  --version              output version information and exit

If no command is given, run '"$SHELL" -i' (default: '/bin/sh -i').

Of nsbuild exec it takes --epoch, --step, --seed and whatever else is about what the command sees,
unabbreviated; each can be a variable such as NSBUILD_SEED, or a line of /etc/nsbuild.toml.
--debug, or NSBUILD_DEBUG=1, shows each step. See nsbuild-chroot(1).
"""


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    speak_as("chroot", quiet=not debug_wanted())
    try:
        options, operands = gnuopt.read(arguments, THEIRS, OURS)
        if "help" in options or "version" in options:
            return _tell("help" in options)
        if not operands:
            raise gnuopt.Unknown("missing operand")
        if "debug" in options:
            speak_as("chroot", quiet=False)
        newroot = operands[0]
        if "skip-chdir" in options and not _is_root(newroot):
            raise gnuopt.Unknown("option --skip-chdir only permitted if NEWROOT is old '/'")
    except gnuopt.Unknown as error:
        report(str(error))
        if sys.stderr is not None:
            sys.stderr.write("Try 'chroot --help' for more information.\n")
        return EXIT_OURS
    return _chroot(newroot, operands[1:], options)


def _chroot(newroot: str, command: list[str], options: dict[str, str]) -> int:
    caller = set_aside(personality(PERSONALITY_QUERY))
    wanted = Wanted(options.get("userspec"), options.get("groups"), _is_utf8(caller))
    if wanted.userspec and wanted.userspec.endswith(":"):
        wanted = wanted._replace(userspec=wanted.userspec[:-1])
    nested = under_nsbuild()
    if not nested:
        _try(newroot, wanted)
    outside = Found() if _is_root(newroot) else look_outside(wanted)
    contract = Contract(caller, wanted, outside)
    argv = tuple(command or (os.environ.get("SHELL", "/bin/sh"), "-i"))
    skip = "skip-chdir" in options
    if nested:
        warn("a plain chroot, because the container around it is supervised already")
        _plain(newroot, argv, contract, skip)
    return _supervised(newroot, argv, contract, options)


def _supervised(
    newroot: str, argv: tuple[str, ...], contract: Contract, options: dict[str, str]
) -> int:
    """The chroot in a container of its own."""
    from nsbuild.cli import values
    from nsbuild.cli.rules import Options
    from nsbuild.container import cpumodel
    from nsbuild.container.front import run_container
    from nsbuild.container.spec import CommandSpec, ContainerSpec, RootSpec

    chosen = Options(Settings(options), newroot)
    model = cpumodel.variables(chosen.cpu_model)
    added = tuple(os.fsencode(f"{name}={value}") for name, value in model.items())
    root = RootSpec(
        target=_by_name(newroot),
        network="host",
        identity=chosen.identity,
        boot_time=chosen.epoch,
        cpu_model=chosen.cpu_model,
        in_place=True,
    )
    command = CommandSpec(
        argv=argv,
        environment={},
        workdir=values.working_directory() if "skip-chdir" in options else "/",
        interactive=True,
        contract=contract._replace(added=added),
    )
    return run_container(
        ContainerSpec(
            root=root,
            command=command,
            scheduling=chosen.scheduling(),
            rules=chosen.rules(),
            profile=chosen.profile(),
            own_users=_needs_users(),
            trace=options.get("trace"),
            debug="debug" in options or debug_wanted(),
            state=chosen.state,
        )
    )


def _by_name(path: str) -> str:
    """The directory without links of /proc, as /proc/self/fd/5 is one.

    They lead to mounts of the namespace that is left behind, which cannot be cloned (open_tree(2)).
    """
    plain = os.path.realpath(path)
    try:
        return plain if os.path.samefile(plain, path) else path
    except OSError:
        return path


def _needs_users() -> bool:
    """Whether only a user namespace of its own lets us make the container."""
    import prctl

    if prctl.cap_effective.sys_admin:
        return False
    if os.geteuid():
        raise NsbuildError(
            "cannot make a container in which all users keep their numbers",
            "CAP_SYS_CHROOT is enough for a plain chroot; this takes root",
        )
    return True


def _plain(newroot: str, argv: tuple[str, ...], contract: Contract, skip: bool) -> NoReturn:
    """Change the root of this very process and become the command."""
    from nsbuild.container.command import become

    _change_root(newroot, contract.wanted)
    if not skip:
        os.chdir("/")
    found = contract.find_ids()
    children.ignore_again()
    raise become(argv, contract, found)


def _change_root(newroot: str, wanted: Wanted) -> None:
    try:
        os.chroot(newroot)
    except OSError as error:
        name = shell_quote(newroot, wanted.utf8)
        raise NsbuildError.from_os(f"cannot change root directory to {name}", error) from error


def _try(newroot: str, wanted: Wanted) -> None:
    """NsbuildError unless chroot(2) to `newroot` works for us."""
    child = os.fork()
    if child == 0:
        try:
            os.chroot(newroot)
        except OSError as error:
            os._exit(min(error.errno or errno.EINVAL, 255))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        name = shell_quote(newroot, wanted.utf8)
        raise NsbuildError(f"cannot change root directory to {name}: {os.strerror(code)}")


def _tell(help_wanted: bool) -> int:
    from nsbuild import __version__

    return gnuopt.tell(_HELP if help_wanted else f"chroot (nsbuild) {__version__}\n")


def _is_root(path: str) -> bool:
    try:
        return os.path.realpath(path, strict=True) == "/"
    except OSError:
        return False


def _is_utf8(caller: Caller) -> bool:
    """Whether the caller's locale has more quotation marks than ASCII's.

    Python may have chosen another for itself (PEP 538), so the variables decide.
    """
    import _locale

    variables = dict(text.partition(b"=")[::2] for text in caller.environment)
    values = (variables.get(name) for name in (b"LC_ALL", b"LC_CTYPE", b"LANG"))
    name = next(filter(None, values), b"C")
    try:
        _locale.setlocale(_locale.LC_CTYPE, os.fsdecode(name))
    except _locale.Error:  # type: ignore[attr-defined]
        return False
    return _locale.nl_langinfo(_locale.CODESET).upper() in ("UTF-8", "UTF8")
