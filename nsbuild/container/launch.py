"""The supervisor's process: makes the container, takes its listener, answers until it ends.

It pins itself to the CPU, forks the child that enters the namespaces, writes that child's id maps
from outside, and follows the events of setting up in their fixed order. Whatever fails on the way
is one NsbuildError; leaving this process is what unwinds a half-built container, since init dies
with it and the mounts with init.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

import prctl

from nsbuild.container.command import Inheritance
from nsbuild.container.cpu import CpuClaim, aside, supervise_on
from nsbuild.container.enter import enter
from nsbuild.container.failure import command_error
from nsbuild.container.handover import Handover
from nsbuild.container.init import Setup, leave_to_command
from nsbuild.container.loader import sites_in
from nsbuild.container.network import plug_in
from nsbuild.container.rootfs import RootPlan
from nsbuild.container.spec import ContainerSpec
from nsbuild.errors import EXIT_OURS, NsbuildError, exit_status, report
from nsbuild.kernel.idmaps import IdMaps, write_id_maps
from nsbuild.kernel.process import pidfd_getfd
from nsbuild.kernel.seccomp import Program
from nsbuild.seccomp.loader import let_go
from nsbuild.supervisor.initlink import (
    EVENT_COMMAND,
    EVENT_ERROR,
    EVENT_EXIT,
    EVENT_INIT,
    EVENT_MAPS,
    EVENT_READY,
    Event,
    InitLink,
    decode_error,
    pair,
    receive_event,
)
from nsbuild.supervisor.initpriority import InitPriority
from nsbuild.supervisor.trace import Trace
from nsbuild.tuples import NamedTuple

CLOCK_REALTIME_COARSE = 5
"""The clock that the kernel stamps files with (clock_gettime(2))."""

RUNAWAY_MICROSECONDS = 20_000_000
"""CPU time that the supervisor may use under SCHED_FIFO without once waiting for anything."""


class Prepared(NamedTuple):
    """What the front process has made ready, so that errors come before any fork."""

    spec: ContainerSpec
    plan: RootPlan
    maps: IdMaps | None
    profile: bytes
    """Compiled."""
    trace: Trace
    claim: CpuClaim
    inheritance: Inheritance
    priority: InitPriority
    handover: Handover
    started: int = -1
    """See `Setup`."""


class Container:
    """One container from the supervisor's side."""

    def __init__(
        self, prepared: Prepared, front: socket.socket, terminal: socket.socket | None
    ) -> None:
        self._prepared = prepared
        self._front = front
        self._terminal = terminal
        self._handover = prepared.handover
        self._init_pid = 0

    def run(self) -> int:
        """Run the container to its end; returns the exit code."""
        prepared = self._prepared
        spec, maps = prepared.spec, prepared.maps
        start = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
        cpu = prepared.claim.cpu
        others = os.sched_getaffinity(0) - {cpu}
        fifo = supervise_on(cpu, spec.scheduling)
        if fifo:
            prepared.priority.use_fifo()
        events, requests = self._fork(fifo)
        if maps is not None:
            self._expect(events, EVENT_MAPS, lambda e: write_id_maps(maps, e.pid))
            requests.send(b".")
        with aside(cpu, others, fifo):
            # Only now, beside the child, and before we join it and can import nothing any more.
            from nsbuild.supervisor.spin import fork_watcher

            watcher = fork_watcher() if fifo else None
            from nsbuild.container import serving

            patch = serving.load()
        self._init_pid = self._expect(events, EVENT_INIT).pid
        prepared.priority.set_pid(self._init_pid)
        if spec.root.address:
            plug_in(self._init_pid, spec.root.address)
        ready = self._expect(events, EVENT_READY)
        command = self._expect(events, EVENT_COMMAND)
        listener = self._take_listener(command.pid)
        # Left unread in the front's socket, it keeps the listener open should we be killed: calls
        # then wait until the container is dead, instead of failing with ENOSYS while it dies.
        socket.send_fds(self._front, [b"L"], [listener])
        link = InitLink(requests, prepared.priority, ready.fds[1]), prepared.priority
        made = serving.Made(listener, ready, *link, events, self._front, watcher, start)
        supervisor = serving.make_supervisor(spec, made, patch, prepared.trace)
        serving.rotate(supervisor, prepared.claim)
        self._handover.await_front()
        self._handover.taken()
        status = supervisor.run()
        prepared.trace.close()
        # Nobody is left to be above of, and reaping is for ordinary tasks (see initpriority).
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.waitpid(self._init_pid, 0)
        self._init_pid = 0
        code = self._exit_code(status)
        serving.finish(spec, supervisor, start, code)
        return code

    def kill(self) -> None:
        """End whatever is left of the container, before its listener closes and calls fail."""
        if not self._init_pid:
            return
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            self._prepared.priority.lower_init()
            os.kill(self._init_pid, signal.SIGKILL)
            os.waitpid(self._init_pid, 0)

    def _fork(self, fifo: bool) -> tuple[socket.socket, socket.socket]:
        """Fork the child that becomes the container; returns our ends of events and requests."""
        prepared = self._prepared
        profile = prepared.profile
        events, events_inside = pair()
        requests, requests_inside = pair()
        events.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        setup = Setup(
            root=prepared.spec.root,
            plan=prepared.plan,
            command=prepared.spec.command,
            program=Program(let_go(profile, sites_in(prepared.spec)) if fifo else profile),
            fifo=fifo,
            inheritance=prepared.inheritance,
            requests=requests_inside,
            events=events_inside,
            terminal=self._terminal,
            fuse={},
            handover=self._handover,
            priority=prepared.priority,
            own_users=prepared.spec.own_users,
            started=prepared.started,
        )
        if os.fork() == 0:
            events.close()
            requests.close()
            self._front.close()
            prepared.claim.let_go()
            enter(setup)
        self._handover.note_pending()
        leave_to_command(prepared.inheritance.mask)
        events_inside.close()
        requests_inside.close()
        if prepared.started >= 0:
            os.close(prepared.started)
        if self._terminal is not None:
            self._terminal.close()
        return events, requests

    def _expect(
        self, events: socket.socket, kind: bytes, act: Callable[[Event], None] | None = None
    ) -> Event:
        """The next event, which must be of `kind`; raises what the container reports instead."""
        event = receive_event(events)
        if event is None:
            raise NsbuildError("the container died while it was set up")
        if event.data[:1] == EVENT_ERROR:
            raise decode_error(event.data)
        if event.data[:1] == EVENT_EXIT:
            raise self._command_error()
        if event.data[:1] != kind:
            raise AssertionError(f"expected event {kind!r}, got {event.data!r}")
        if act is not None:
            act(event)
        return event

    def _take_listener(self, pid: int) -> int:
        """Take the filter's listener from the command's process `pid`."""
        pidfd = os.pidfd_open(pid)
        try:
            fd = self._handover.await_offer(pidfd)
            if fd is None:
                raise self._filter_error()
            return pidfd_getfd(pidfd, fd)
        finally:
            os.close(pidfd)

    def _filter_error(self) -> NsbuildError:
        number = self._handover.failure
        reason = os.strerror(number) if number else "its process died"
        return NsbuildError(
            f"cannot install the seccomp filter: {reason}",
            "the kernel needs CONFIG_SECCOMP_FILTER and user notification (Linux 5.19 or later)",
        )

    def _exit_code(self, status: int) -> int:
        """The command's own exit code, 128+n for a signal, or what its start failed with."""
        stage, _ = self._handover.exec_failure
        if stage:
            raise self._command_error()
        self._handover.ended(status)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _command_error(self) -> NsbuildError:
        stage, number = self._handover.exec_failure
        return command_error(self._prepared.spec.command, stage, number)


def supervise(prepared: Prepared, front: socket.socket, terminal: socket.socket | None) -> NoReturn:
    """The life of the supervisor process; exits with the container's exit code."""
    prctl.set_pdeathsig(signal.SIGKILL)
    prctl.set_name("nsbuild-super")
    # Nothing that is made per call or per process refers to itself, so there is nothing to collect,
    # and a collection in the middle of an answer is time that the guest waits.
    gc.disable()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Above everybody on its CPU, a bug that loops would stop the host there: SIGXCPU ends it.
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    resource.setrlimit(resource.RLIMIT_RTTIME, (RUNAWAY_MICROSECONDS, hard))
    container = Container(prepared, front, terminal)
    code = exit_status(EXIT_OURS)
    try:
        code = container.run()
    except NsbuildError as error:
        report(str(error))
        code = exit_status(error.code)
    except BaseException:  # noqa: BLE001 - a bug of ours must not run on in the front's code
        # Not by the traceback module: in the container's file system there is none to import.
        sys.__excepthook__(*sys.exc_info())
    finally:
        container.kill()
    os._exit(code)
