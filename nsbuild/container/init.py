"""PID 1 of the container: builds what is inside, starts the command, then reaps and serves.

It runs inside every namespace but outside the filter, above the guest, and lives exactly as long as
the command and the supervisor: when either ends it ends, and the kernel kills whatever is left in
its PID namespace. To the supervisor it is a hand inside: it writes ns_last_pid before each fork,
reads the UTS names and delivers signals.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from typing import NoReturn

from nsbuild.container.command import Inheritance, run_command
from nsbuild.container.entry import read_entry
from nsbuild.container.handover import FORWARDED, STAGE_EXEC, Handover
from nsbuild.container.join import JOINED
from nsbuild.container.rootfs import RootPlan
from nsbuild.container.spec import CommandSpec, RootSpec
from nsbuild.container.terminal import copy_size
from nsbuild.container.users import User, find_user
from nsbuild.container.userspec import Found
from nsbuild.determinism.names import FIRST_PID, PID_LIMIT, next_free
from nsbuild.errors import EXIT_OURS, NsbuildError
from nsbuild.kernel.fuse import mount_fuse_file
from nsbuild.kernel.namespaces import link_up, setdomainname
from nsbuild.kernel.process import overwrite_arguments, read_small
from nsbuild.kernel.seccomp import Program
from nsbuild.kernel.tty import open_pty
from nsbuild.supervisor import extension
from nsbuild.supervisor.initlink import (
    BORN,
    ENTER,
    EVENT_EXIT,
    EVENT_INIT,
    EVENT_LEFT,
    EVENT_READY,
    EXISTS,
    LIMIT,
    NO,
    OPEN_AUXV,
    OPEN_MEM,
    REQUEST,
    RESERVE,
    SIGNAL,
    SIGNAL_TO,
    UTS_NAMES,
    YES,
    encode_error,
    send_event,
)
from nsbuild.supervisor.initpriority import InitPriority
from nsbuild.supervisor.served import SERVED
from nsbuild.tuples import NamedTuple

DEFERRED_SIGNALS = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGPIPE,
)
"""Signals of the terminal reach the whole foreground group: they are the command's, not ours.

Those that are kept for the command (see Handover) are blocked in each process on the way to it; the
others mean nothing before it is there.
"""

NO_FUSE = "no /dev/fuse here"
FUSE_HINT = "as root: modprobe fuse; chmod 0666 /dev/fuse"

NUMBERS = range(FIRST_PID, PID_LIMIT)
"""What is handed out as process numbers."""


class Setup(NamedTuple):
    """Everything that init needs, made before the first fork."""

    root: RootSpec
    plan: RootPlan
    command: CommandSpec
    program: Program
    fifo: bool
    inheritance: Inheritance
    requests: socket.socket
    events: socket.socket
    terminal: socket.socket | None
    """Where the master of the pseudo-terminal goes; None without -t."""
    fuse: dict[str, int]
    handover: Handover
    priority: InitPriority
    own_users: bool
    started: int = -1
    """A descriptor that the command alone is to have until it is executed; -1 for none."""


def run_init(setup: Setup) -> NoReturn:
    """Be the container's init; never returns."""
    try:
        _protect()
        send_event(setup.events, EVENT_INIT)
        ids, slave = _build(setup)
        _disguise(setup.plan.proc_fd)
        command = os.fork()
        if command == 0:
            run_command(
                setup.command,
                ids,
                setup.program,
                setup.fifo,
                setup.inheritance,
                setup.events,
                setup.handover,
                slave,
            )
        setup.handover.note_pending()
        leave_to_command(setup.inheritance.mask)
        for fd in (slave, setup.started):
            if fd is not None and fd >= 0:
                os.close(fd)
        status = Init(setup, command).run()
        send_event(setup.events, EVENT_EXIT + str(status).encode())
    except NsbuildError as error:
        send_event(setup.events, encode_error(error))
    except OSError as error:
        send_event(setup.events, encode_error(NsbuildError.from_os("cannot set up", error)))
    os._exit(0)


def _protect() -> None:
    """Die with the supervisor."""
    import prctl

    prctl.set_pdeathsig(signal.SIGKILL)


def leave_to_command(mask: frozenset[int]) -> None:
    """Ignore the terminal's signals from now on, as there is a child that has them blocked.

    Blocked until here, since what is ignored does not stay pending; `mask` is to be the mask.
    """
    for number in DEFERRED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _build(setup: Setup) -> tuple[User | Found, int | None]:
    """Names, network, file system, devices, terminal; tells the supervisor when all stands."""
    identity = setup.root.identity
    socket.sethostname(identity.hostname)
    setdomainname(identity.domainname)
    if setup.root.network != "host":
        link_up("lo")
    for operation in setup.plan:
        operation.do()
    served = _serve_devices(setup)
    contract = setup.command.contract
    user = contract.find_ids() if contract else find_user(setup.command.user)
    slave = None
    if setup.terminal is not None:
        master, slave = _open_terminal(user, 0)
        socket.send_fds(setup.terminal, [b"T"], [master])
        os.close(master)
    # Handed over now: whoever is not dumpable, as we are about to be, keeps them to itself.
    proc = setup.plan.proc_fd
    flags = os.O_RDONLY | os.O_CLOEXEC
    namespaces = [os.open(f"self/ns/{name}", flags, dir_fd=proc) for name in ("pid", *JOINED)]
    names = " ".join(served).encode()
    fuse = [setup.fuse[name] for name in served]
    send_event(setup.events, EVENT_READY + names, [proc, *namespaces, *fuse])
    for fd in (*namespaces, *setup.fuse.values()):
        os.close(fd)
    return user, slave


def _open_terminal(user: User | Found, like: int) -> tuple[int, int]:
    """Master and slave of a terminal of the container's, as large as `like` if that is one."""
    master, slave = open_pty("/dev/pts/ptmx")
    os.fchown(slave, user.uid or 0, -1)
    if os.isatty(like):
        copy_size(like, slave)
    return master, slave


def _serve_devices(setup: Setup) -> list[str]:
    """Mount the files that the supervisor serves, and say which; without FUSE they do not exist.

    A device that is missing makes a program fail; one that is empty, or the host's, makes it go on
    with something that is not random or not repeatable. In a root that is used in place only what
    is there is served, and nothing of it can be taken away.
    """
    mounted = []
    for name, served in SERVED.items():
        if setup.root.in_place and not os.path.exists(served.path):
            continue
        try:
            if name in setup.fuse:
                mount_fuse_file(setup.fuse[name], served.path, served.mode)
                mounted.append(name)
            elif setup.root.in_place:
                raise NsbuildError(f"cannot serve {served.path}: {NO_FUSE}", FUSE_HINT)
            elif served.path.startswith("/dev/"):
                os.unlink(served.path)
        except OSError as error:
            raise NsbuildError.from_os(f"cannot serve {served.path}", error) from error
    return mounted


def _disguise(proc_fd: int) -> None:
    """Show nothing of the host in our own /proc files, and let nobody inside trace us."""
    import prctl

    prctl.set_name("init")
    overwrite_arguments(b"init", proc_fd)
    # Our address space belongs to the host's user namespace, so without this flag not even the
    # container's root may ptrace us or read our environment.
    prctl.set_dumpable(0)


class Init:
    """The life of init once the command runs."""

    def __init__(self, setup: Setup, command: int) -> None:
        self._setup = setup
        self._entrants: set[int] = set()
        self._requests = setup.requests
        self._priority = setup.priority
        self._last_pid_fd = setup.plan.ns_last_pid_fd
        self._proc_fd = setup.plan.proc_fd
        self._command = command
        self._status: int | None = None

    def run(self) -> int:
        """Serve until the command has ended; returns its wait status."""
        wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Our mask is our caller's, and may have it blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        if extension.available():
            return self._run_hot(wake)
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self._requests, select.POLLIN)
        self._reap()
        while self._status is None:
            for fd, _ in poll.poll():
                if fd == wake:
                    os.read(wake, 4096)
                    self._reap()
                else:
                    self._serve(self._requests.recv(REQUEST.size))
        return self._status

    def _run_hot(self, wake: int) -> int:
        """The same with the extension, which answers what every fork asks by itself."""
        requests = self._requests.fileno()
        self._reap()
        while self._status is None:
            message = extension.serve_numbers(requests, wake, self._last_pid_fd, NUMBERS)
            if message is None:
                os.read(wake, 4096)
                self._reap()
            else:
                self._serve(message)
        return self._status

    def _reap(self) -> None:
        """Wait for the command and for every orphan that the kernel has given to us."""
        self._priority.begin_reaping()
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._command:
                    self._status = status
                elif pid in self._entrants:
                    self._entrants.remove(pid)
                    send_event(self._setup.events, EVENT_LEFT + b"%d %d" % (pid, status))
        except ChildProcessError:
            return
        finally:
            self._priority.end_reaping()

    def _serve(self, message: bytes) -> None:
        if not message:
            os._exit(1)
        what, value = REQUEST.unpack(message)
        if what in (OPEN_MEM, OPEN_AUXV):
            self._open(f"{value}/{'mem' if what == OPEN_MEM else 'auxv'}", what)
        elif what == ENTER:
            self._let_in(value)
        else:
            self._requests.send(self._answer(what, value))

    def _open(self, path: str, what: bytes) -> None:
        try:
            flags = os.O_RDWR if what == OPEN_MEM else os.O_RDONLY
            fd = os.open(path, flags, dir_fd=self._proc_fd)
        except OSError:
            self._requests.send(NO)
            return
        socket.send_fds(self._requests, [YES], [fd])
        os.close(fd)

    def _answer(self, what: bytes, value: int) -> bytes:
        if what == RESERVE:
            return str(self._reserve(value)).encode()
        if what == BORN:
            # A process that was born and has gone already has moved the counter all the same.
            last = int(os.pread(self._last_pid_fd, 32, 0))
            return YES if last != value - 1 or exists(value) else NO
        if what == EXISTS:
            return YES if exists(value) else NO
        if what == UTS_NAMES:
            return self._sysctl("hostname") + b"\0" + self._sysctl("domainname")
        if what == SIGNAL:
            return self._signal(self._command, value)
        if what == SIGNAL_TO:
            pid = value >> 7
            return self._signal(pid, value & 127) if pid in self._entrants else NO
        raise OSError(errno.EPROTO, f"request {what!r}")

    def _signal(self, pid: int, number: int) -> bytes:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return NO
        return YES

    def _let_in(self, wish: int) -> None:
        """Fork the command that is described in what comes next, with the number `wish`."""
        _, fds, _, _ = socket.recv_fds(self._requests, LIMIT, 8)
        entry, shared, *standard = fds
        masters: list[int] = []
        try:
            if self._setup.fifo and os.sched_getscheduler(0) != os.SCHED_FIFO:
                # We have reaped, and could not be raised meanwhile. A child has our policy, and
                # nobody in a user namespace may take SCHED_FIFO who has it not (sched(7)).
                reply = NO
            else:
                reply = str(self._fork_entrant(wish, entry, shared, standard, masters)).encode()
        except NsbuildError as error:
            reply = encode_error(error)
        except OSError as error:
            reply = encode_error(NsbuildError.from_os("cannot start the command", error))
        socket.send_fds(self._requests, [reply], masters)
        for fd in (*fds, *masters):
            os.close(fd)

    def _fork_entrant(
        self, wish: int, entry: int, shared: int, standard: list[int], masters: list[int]
    ) -> int:
        setup = self._setup
        command = read_entry(entry)
        user = find_user(command.user)
        slave = None
        if command.tty:
            master, slave = _open_terminal(user, standard[0])
            masters.append(master)
        if not self._reserve(wish):
            raise NsbuildError("no process number is free in the container")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        pid = os.fork()
        if pid == 0:
            _be_entrant(setup, command, user, Handover(shared), slave, standard)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if slave is not None:
            os.close(slave)
        self._entrants.add(pid)
        return pid

    def _sysctl(self, name: str) -> bytes:
        return read_small(f"sys/kernel/{name}", self._proc_fd).removesuffix(b"\n")

    def _reserve(self, wish: int) -> int:
        try:
            pid = next_free(wish, exists)
        except LookupError:
            return 0
        os.pwrite(self._last_pid_fd, str(pid - 1).encode(), 0)
        return pid


def _be_entrant(
    setup: Setup,
    command: CommandSpec,
    user: User,
    handover: Handover,
    slave: int | None,
    standard: list[int],
) -> NoReturn:
    """Become a command that has come in; `standard` are to be its standard files."""
    try:
        if slave is None:
            os.setsid()
        for number, fd in enumerate(standard):
            os.dup2(fd, number)
        run_command(
            *(command, user, setup.program, setup.fifo, setup.inheritance),
            *(setup.events, handover, slave),
        )
    except OSError as error:
        handover.exec_failed(STAGE_EXEC, error.errno or 0)
    finally:
        # Whatever it is, there must be no second init.
        os._exit(EXIT_OURS)


def exists(pid: int) -> bool:
    """Whether `pid` is the number of a process, a thread or a zombie here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
