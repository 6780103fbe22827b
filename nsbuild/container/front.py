"""The front process: what the caller started, and what outlives everything it started.

It makes all ready that can fail, forks the supervisor, passes signals and the terminal on, and
returns only once nothing of the container is left. As the subreaper it inherits init when the
supervisor is killed, so even then it waits for the end, and the caller gets 125.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING

import prctl

from nsbuild.container.chrootfs import plan_in_place
from nsbuild.container.command import Inheritance
from nsbuild.container.cpu import CpuClaim
from nsbuild.container.handover import FORWARDED, Handover
from nsbuild.container.launch import Prepared, supervise
from nsbuild.container.nesting import refuse_nesting
from nsbuild.container.rootfs import created_mountpoints, plan_root
from nsbuild.container.spec import ContainerSpec
from nsbuild.container.terminal import (
    RawTerminal,
    Relay,
    copy_size,
    foreground_group,
    give_terminal,
)
from nsbuild.errors import EXIT_OURS, NsbuildError, exit_status, report, warn
from nsbuild.kernel import children
from nsbuild.kernel.idmaps import plan_id_maps
from nsbuild.kernel.signalfd import pending, signalfd
from nsbuild.seccomp import compiled
from nsbuild.supervisor.initpriority import InitPriority
from nsbuild.supervisor.trace import Trace

if TYPE_CHECKING:
    from nsbuild.container.session import Session

SI_KERNEL = 0x80
"""si_code of a signal that the kernel sent: from the terminal, to the whole foreground group."""


def run_container(spec: ContainerSpec, session: Session | None = None) -> int:
    """Run a container to its end; returns the exit code. Raises NsbuildError before it starts.

    With a `session` it is a recorded one, which others may speak to.
    """
    _have_standard_files()
    refuse_nesting()
    claim = CpuClaim(spec.scheduling.cpu)
    maps = plan_id_maps() if spec.own_users else None
    plan = plan_in_place(spec.root) if spec.root.in_place else plan_root(spec.root)
    profile = compiled(spec.profile)
    if spec.debug:
        steps = [*([maps.describe()] if maps else []), *(step.describe() for step in plan)]
        for line in (f"run on CPU {claim.cpu}", *steps, f"run {' '.join(spec.command.argv)}"):
            warn(line)
        if spec.state is not None:
            warn(spec.state.describe())
    if maps and maps.warning:
        warn(maps.warning)
    if spec.state is not None:
        spec.state.claim()
    trace = Trace(spec.trace)
    shared = InitPriority(), session.handover if session else Handover()
    started = session.started if session else -1
    common = profile, trace, claim, _inheritance()
    prepared = Prepared(spec, plan, maps, *common, *shared, started)
    left_over = [] if spec.root.in_place else created_mountpoints(spec.root)
    if spec.state is not None and spec.state.made:
        left_over.append(spec.state.path)
    try:
        return Front(prepared, session).run()
    finally:
        for path in reversed(left_over):
            _remove_empty(path)


def _have_standard_files() -> None:
    """Open /dev/null for each of the first three descriptors that the caller has closed.

    A socket of ours would get its number otherwise, and lose it to the command's stdin.
    """
    try:
        while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
            os.set_inheritable(fd, True)
    except OSError as error:
        raise NsbuildError.from_os("cannot open /dev/null", error) from error
    os.close(fd)


def _inheritance() -> Inheritance:
    ignored = tuple(
        number
        for number in signal.valid_signals()
        # Python itself ignores SIGPIPE and SIGXFSZ, whatever it was started with.
        if number not in (signal.SIGPIPE, signal.SIGXFSZ)
        and signal.getsignal(number) is signal.SIG_IGN
    )
    if children.are_ignored():
        ignored = tuple({*ignored, signal.SIGCHLD})
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    limits = {
        number: resource.getrlimit(number)
        for number in (resource.RLIMIT_NOFILE, resource.RLIMIT_RTTIME)
    }
    return Inheritance(ignored, frozenset(mask), limits)


def _remove_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        # Never made, or the command has put something into it, which is the caller's now.
        return


def _die_by(number: int) -> None:
    """End as the command did, by a signal, for a caller who would have been its parent."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)


def _receive_master(terminal: socket.socket) -> int:
    """The master of the command's terminal, -1 where there will be none."""
    _, fds, _, _ = socket.recv_fds(terminal, 1, 1)
    terminal.close()
    return int(fds[0]) if fds else -1


class Front:
    """The supervisor's parent for the time of one container."""

    def __init__(self, prepared: Prepared, session: Session | None = None) -> None:
        self._prepared = prepared
        self._session = session
        self._tty = prepared.spec.command.tty
        self._contract = prepared.spec.command.contract
        self._supervisor = 0
        self._status: int | None = None
        self._link, self._inner = socket.socketpair()

    def run(self) -> int:
        """Fork the supervisor, serve the caller, wait for the end."""
        prctl.set_child_subreaper(1)
        terminal, terminal_inner = socket.socketpair() if self._tty else (None, None)
        session = self._session
        if session is not None:
            session.open(self._prepared.spec.command)
        signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD, signal.SIGWINCH})
        self._supervisor = os.fork()
        if self._supervisor == 0:
            self._link.close()
            if terminal is not None:
                terminal.close()
            if session is not None:
                session.inside()
            supervise(self._prepared, self._inner, terminal_inner)
        # It may move, and nothing here shall keep the CPU then that it has left.
        self._prepared.claim.let_go()
        self._note_first()
        self._inner.close()
        if terminal_inner is not None:
            terminal_inner.close()
        if session is not None:
            session.outside()
            self._attend(session, terminal)
        elif terminal is not None:
            self._relay(terminal)
        group = foreground_group() if self._contract else None
        while not self._reap():
            self._forward_next()
        if group is not None:
            # A shell with job control hands the terminal back to a group that it cannot name, since
            # its caller's has no number in its PID namespace.
            give_terminal(group)
        code = self._exit_code()
        if session is not None:
            session.finish(code)
        return code

    def _attend(self, session: Session, terminal: socket.socket | None) -> None:
        """Serve a recorded container until the supervisor has ended."""
        master = -1 if terminal is None else _receive_master(terminal)
        if master >= 0 and not session.detached and os.isatty(0):
            copy_size(0, master)
        fd = signalfd({*FORWARDED, signal.SIGCHLD, signal.SIGWINCH})

        def on_signals() -> bool:
            over = False
            for number, code in pending(fd):
                if number == signal.SIGWINCH and master >= 0 and os.isatty(0):
                    copy_size(0, master)
                elif number == signal.SIGCHLD:
                    over = self._reap()
                elif number in FORWARDED and not self._has_reached_command(code):
                    self._forward(number)
            return over

        session.attend(master, fd, on_signals, self._forward, self._pass_on)

    def _pass_on(self, client: socket.socket) -> None:
        """Let the supervisor speak to a client of ours: signal 0 with its socket."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._link, [b"\0"], [client.fileno()])

    def _forward_next(self) -> None:
        info = signal.sigwaitinfo({*FORWARDED, signal.SIGCHLD})
        if info.si_signo in FORWARDED and not self._has_reached_command(info.si_code):
            self._forward(info.si_signo)

    def _note_first(self) -> None:
        """Hand on what came before there was a supervisor: `_has_reached_command` is not for it."""
        first: set[int] = set()
        while (info := signal.sigtimedwait(FORWARDED, 0)) is not None:
            first.add(info.si_signo)
        self._prepared.handover.note_first(first)

    def _has_reached_command(self, code: int) -> bool:
        """Whether a signal with the si_code `code` went to the command as well.

        When it came does not matter, and could not be told by a process that those above it keep
        from the CPU: whoever was to become the command had it too (see Handover). But a command
        with a terminal of its own is not in the group that the caller's terminal speaks to.
        """
        return code == SI_KERNEL and not self._tty

    def _forward(self, number: int) -> None:
        try:
            self._link.send(bytes([number]))
        except OSError:
            # The supervisor is gone, and with it whom the signal is for.
            return

    def _reap(self) -> bool:
        """Collect who has ended; True once there is nobody left to wait for."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self._supervisor:
                self._status = status
                # One that was killed may have left init raised, which then must not reap.
                self._prepared.priority.lower_init()

    def _relay(self, terminal: socket.socket) -> None:
        """Drive the container's terminal until the supervisor has ended."""
        master = _receive_master(terminal)
        if master < 0:
            return
        interactive = self._prepared.spec.command.interactive
        wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        passed_on = {*FORWARDED, signal.SIGCHLD, signal.SIGWINCH}
        for number in passed_on:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
        if os.isatty(0):
            copy_size(0, master)

        def on_signal(numbers: bytes) -> bool:
            for number in numbers:
                if number == signal.SIGWINCH and os.isatty(0):
                    copy_size(0, master)
                elif number in FORWARDED:
                    self._forward(number)
            return self._reap()

        with RawTerminal(0 if interactive else -1):
            Relay(master, interactive, wake).run(on_signal)
        signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)

    def _exit_code(self) -> int:
        if self._status is None:
            return exit_status(EXIT_OURS)
        status = self._prepared.handover.status
        if self._contract and status is not None and os.WIFSIGNALED(status):
            _die_by(os.WTERMSIG(status))
        manners = self._prepared.spec.command.manners
        if manners and status is not None and os.WIFSIGNALED(status):
            return manners.killed
        code = os.waitstatus_to_exitcode(self._status)
        if code < 0:
            report(
                f"the supervisor was killed by {signal.Signals(-code).name}; so is the container"
            )
            return exit_status(EXIT_OURS)
        return code
