"""PID 2: what happens between init's fork and the command's first instruction.

The order is the kernel's: below the supervisor first (inside the filter the scheduling calls change
nothing), then the filter while we are root of the user namespace (so that no NO_NEW_PRIVS is needed
and su and sudo work inside), the hand-over without a system call, and only then the user's ids.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
from typing import NamedTuple, NoReturn

import prctl

from nsbuild.container.cpu import become_guest
from nsbuild.container.handover import STAGE_EXEC, STAGE_IDS, STAGE_WORKDIR, Handover
from nsbuild.container.spec import CommandSpec
from nsbuild.container.terminal import adopt_terminal
from nsbuild.container.users import User
from nsbuild.errors import EXIT_CANNOT_INVOKE, EXIT_NOT_FOUND, EXIT_OURS
from nsbuild.kernel.namespaces import ADDR_NO_RANDOMIZE, STICKY_TIMEOUTS, personality
from nsbuild.kernel.process import close_on_exec_from
from nsbuild.kernel.seccomp import Program
from nsbuild.supervisor.initlink import EVENT_COMMAND, send_event

UMASK = 0o022


SOFT_LIMITS = {
    resource.RLIMIT_STACK: 8 << 20,
    resource.RLIMIT_NOFILE: 1024,
    resource.RLIMIT_CORE: 0,
}
"""What a shell shows and address layouts follow from: the kernel's own defaults."""


class Inheritance(NamedTuple):
    """What the caller of nsbuild had and the command is to have: set aside before we changed it."""

    ignored: tuple[int, ...]
    """Signals that were ignored, as nohup(1) leaves them."""
    mask: frozenset[int]
    limits: dict[int, tuple[int, int]]
    """Resource limits that are other ones for the supervisor: number -> soft and hard."""


def run_command(
    spec: CommandSpec,
    user: User,
    program: Program,
    fifo: bool,
    inheritance: Inheritance,
    events: socket.socket,
    handover: Handover,
    slave: int | None,
) -> NoReturn:
    """Become the command; on failure leave errno in `handover` and exit 125, 126 or 127."""
    # Init's flag came with the fork; with it an unprivileged supervisor may not take our listener.
    prctl.set_dumpable(1)
    environment = _environment(spec, user)
    _standard_files(spec, slave)
    become_guest(fifo)
    for number, limit in inheritance.limits.items():
        resource.setrlimit(number, limit)
    for number, wanted in SOFT_LIMITS.items():
        _, hard = resource.getrlimit(number)
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(number, (soft, hard))
    # What select and ppoll write back is how much real time was left.
    personality(ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS)
    os.umask(UMASK)
    try:
        os.chdir(spec.workdir)
    except OSError as error:
        handover.exec_failed(STAGE_WORKDIR, error.errno or 0)
        os._exit(EXIT_OURS)
    close_on_exec_from(3)
    _restore_signals(inheritance)
    send_event(events, EVENT_COMMAND)
    try:
        listener = program.install()
    except OSError as error:
        handover.refuse(error.errno or errno.EINVAL)
        os._exit(EXIT_OURS)
    handover.offer(listener)
    try:
        _take_ids(user)
    except OSError as error:
        handover.exec_failed(STAGE_IDS, error.errno or 0)
        os._exit(EXIT_OURS)
    _exec(spec.argv, environment, handover)


def _environment(spec: CommandSpec, user: User) -> dict[str, str]:
    known = {"HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell}
    return {**known, **spec.environment}


def _standard_files(spec: CommandSpec, slave: int | None) -> None:
    if slave is not None:
        adopt_terminal(slave)
        return
    if not spec.interactive:
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)


def _restore_signals(inheritance: Inheritance) -> None:
    """Python and we ourselves have changed dispositions; an exec would keep what is ignored."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        wanted = signal.SIG_IGN if number in inheritance.ignored else signal.SIG_DFL
        try:
            signal.signal(number, wanted)
        except (OSError, ValueError):
            continue
    signal.pthread_sigmask(signal.SIG_SETMASK, inheritance.mask)


def _take_ids(user: User) -> None:
    try:
        os.setgroups(list(user.groups))
    except PermissionError:
        # An unprivileged one-id map denies setgroups to all; only root's own ids exist there.
        if user.groups:
            raise
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)


def _exec(argv: tuple[str, ...], environment: dict[str, str], handover: Handover) -> NoReturn:
    """execvp(3) with the new environment's PATH, and a shell for a script without #!."""
    failure = errno.ENOENT
    for path in _candidates(argv[0], environment):
        try:
            os.execve(path, argv, environment)
        except OSError as error:
            number = error.errno or errno.ENOENT
        if number == errno.ENOEXEC:
            try:
                os.execve("/bin/sh", ("/bin/sh", path, *argv[1:]), environment)
            except OSError as error:
                number = error.errno or errno.ENOENT
        if number not in (errno.ENOENT, errno.ENOTDIR):
            failure = number
            if number != errno.EACCES:
                break
    handover.exec_failed(STAGE_EXEC, failure)
    os._exit(EXIT_NOT_FOUND if failure == errno.ENOENT else EXIT_CANNOT_INVOKE)


def _candidates(name: str, environment: dict[str, str]) -> list[str]:
    if not name:
        return []
    if "/" in name:
        return [name]
    path = environment.get("PATH", os.defpath)
    return [os.path.join(directory or ".", name) for directory in path.split(":")]
