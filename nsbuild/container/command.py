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
from collections.abc import Callable, Iterable
from typing import NoReturn

import prctl

from nsbuild.container.contract import Contract
from nsbuild.container.cpu import become_guest
from nsbuild.container.handover import (
    STAGE_EXEC,
    STAGE_IDS,
    STAGE_LIMITS,
    STAGE_WORKDIR,
    Handover,
)
from nsbuild.container.spec import CommandSpec
from nsbuild.container.terminal import adopt_terminal
from nsbuild.container.users import User
from nsbuild.container.userspec import Found
from nsbuild.errors import EXIT_CANNOT_INVOKE, EXIT_NOT_FOUND, EXIT_OURS, NsbuildError
from nsbuild.kernel.capabilities import keep_bounding
from nsbuild.kernel.namespaces import ADDR_NO_RANDOMIZE, STICKY_TIMEOUTS, personality
from nsbuild.kernel.process import Image, close_on_exec_from
from nsbuild.kernel.seccomp import Program
from nsbuild.supervisor.initlink import EVENT_COMMAND, send_event
from nsbuild.tuples import NamedTuple

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
    user: User | Found,
    program: Program,
    fifo: bool,
    inheritance: Inheritance,
    events: socket.socket,
    handover: Handover,
    slave: int | None,
) -> NoReturn:
    """Become the command; on failure leave errno in `handover` and exit 125, 126 or 127.

    With a contract, `user` is what that has found, and the command has what nsbuild's caller had.
    """
    # Init's flag came with the fork; with it an unprivileged supervisor may not take our listener.
    prctl.set_dumpable(1)
    contract = spec.contract
    environment = contract.environment if contract else _environment(spec, user)
    candidates = _candidates(spec.argv[0], environment)
    image = Image(spec.argv, environment)
    _standard_files(spec, slave)
    become_guest(fifo)
    for number, limit in inheritance.limits.items():
        resource.setrlimit(number, limit)
    if contract is None:
        _set_soft_limits()
    _take_limits(spec, handover)
    # What select and ppoll write back is how much real time was left.
    persona = contract.caller.persona if contract else 0
    personality(persona | ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS)
    os.umask(contract.caller.umask if contract else UMASK)
    try:
        os.chdir(spec.workdir)
    except OSError as error:
        handover.exec_failed(STAGE_WORKDIR, error.errno or 0)
        os._exit(EXIT_OURS)
    close_on_exec_from(3)
    if contract is not None:
        contract.give_back()
    _restore_signals(inheritance.ignored)
    handover.begin()
    send_event(events, EVENT_COMMAND)
    try:
        listener = program.install()
    except OSError as error:
        handover.refuse(error.errno or errno.EINVAL)
        os._exit(EXIT_OURS)
    handover.offer(listener)
    for stage, take in _steps(contract, user):
        try:
            take()
        except OSError as error:
            handover.exec_failed(stage, error.errno or 0)
            os._exit(EXIT_OURS)
    _take_signals(handover, inheritance.mask)
    failure = _execute(candidates, image)
    handover.exec_failed(STAGE_EXEC, failure)
    os._exit(EXIT_NOT_FOUND if failure == errno.ENOENT else EXIT_CANNOT_INVOKE)


def become(argv: tuple[str, ...], contract: Contract, found: Found) -> NsbuildError:
    """Become the command in this very process, of which nothing but Python's signals has changed.

    Returns what is to be said if that fails.
    """
    candidates = _candidates(argv[0], contract.environment)
    image = Image(argv, contract.environment)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    for stage, take in contract.become(found):
        try:
            take()
        except OSError as error:
            return contract.error(stage, error.errno or 0, argv)
    return contract.error(STAGE_EXEC, _execute(candidates, image), argv)


def _environment(spec: CommandSpec, user: User | Found) -> tuple[bytes, ...]:
    known = {}
    if isinstance(user, User):
        known = {"HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell}
    variables = {**known, **spec.environment}
    return tuple(os.fsencode(f"{name}={value}") for name, value in variables.items())


def _set_soft_limits() -> None:
    for number, wanted in SOFT_LIMITS.items():
        _, hard = resource.getrlimit(number)
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(number, (soft, hard))


def _take_limits(spec: CommandSpec, handover: Handover) -> None:
    """The limits that were asked for; and a bounding set, from which an exec makes the others."""
    for number, soft, hard in spec.limits:
        try:
            resource.setrlimit(number, (soft, hard))
        except ValueError:
            # What Python makes of EPERM.
            handover.exec_failed(STAGE_LIMITS, errno.EPERM)
            os._exit(EXIT_OURS)
    if spec.bounding is None:
        return
    # An exec adds what is inheritable to what root gets from the bounding set.
    prctl.cap_inheritable.limit()
    keep_bounding(spec.bounding)


def _standard_files(spec: CommandSpec, slave: int | None) -> None:
    if slave is not None:
        adopt_terminal(slave)
        return
    if not spec.interactive:
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)


def _restore_signals(ignored: tuple[int, ...]) -> None:
    """Python and we ourselves have changed dispositions; an exec would keep what is ignored."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        wanted = signal.SIG_IGN if number in ignored else signal.SIG_DFL
        try:
            signal.signal(number, wanted)
        except (OSError, ValueError):
            continue


def _take_signals(handover: Handover, mask: frozenset[int]) -> None:
    """Let in what has come for the command since the front process started.

    As late as can be: who dies before its listener is taken has died of the set-up, for the others.
    """
    for number in handover.noted:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _steps(
    contract: Contract | None, user: User | Found
) -> Iterable[tuple[int, Callable[[], None]]]:
    """What makes us the user, each step with the stage that it fails at."""
    if contract is not None and isinstance(user, Found):
        return contract.become(user)
    assert isinstance(user, User)
    return ((STAGE_IDS, lambda: _take_ids(user)),)


def _take_ids(user: User) -> None:
    try:
        os.setgroups(list(user.groups))
    except PermissionError:
        # An unprivileged one-id map denies setgroups to all; only root's own ids exist there.
        if user.groups:
            raise
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)


def _execute(candidates: list[bytes], image: Image) -> int:
    """execvp(3) with the new environment's PATH, and a shell for a script without #!; its errno."""
    failure = errno.ENOENT
    denied = False
    for path in candidates:
        failure = image.execute(path)
        if failure == errno.ENOEXEC:
            failure = image.execute_script(path)
        denied = denied or failure == errno.EACCES
        if failure not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            return failure
    return errno.EACCES if denied else failure


def _candidates(name: str, environment: tuple[bytes, ...]) -> list[bytes]:
    """Where to look for the command, in this order."""
    if not name:
        return []
    if "/" in name:
        return [os.fsencode(name)]
    paths = (text[5:] for text in environment if text.startswith(b"PATH="))
    path = next(paths, os.fsencode(os.defpath))
    return [os.path.join(part or b".", os.fsencode(name)) for part in path.split(b":")]
