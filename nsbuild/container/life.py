"""The life of a recorded container: made, run here or by a process of its own, stopped, removed.

There is no daemon. A container in the foreground is run by the process that was asked to, and dies
with it; a detached one by a process that the caller forks and leaves to itself, which is the front
of that container and of nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from nsbuild.container.attendance import WAIT, connect_to
from nsbuild.container.failure import command_error
from nsbuild.container.front import run_container
from nsbuild.container.log import read_log
from nsbuild.container.network import is_private
from nsbuild.container.records import CREATED, EXITED, RUNNING, Record, Records, is_alive
from nsbuild.container.session import LOG, Session
from nsbuild.container.spec import ContainerSpec
from nsbuild.container.specjson import decode
from nsbuild.errors import EXIT_OURS, NsbuildError, report
from nsbuild.kernel.asroot import as_root
from nsbuild.supervisor.parley import LEFT, SIGNAL

Discard = Callable[[Records, Record], None]

UPPER, WORK, VOLUMES = "upper", "work", "volumes"
"""What is in a container's directory, beside its log and its socket."""
_SOON = 20.0
"""Seconds in which a process that was told to end has done its last."""


def make_directories(records: Records, record: Record) -> None:
    """Make the directories that the container needs to run; those that are there stay."""
    top = records.directory(record.id)
    spec = decode(record.spec)
    try:
        os.makedirs(top, mode=0o700, exist_ok=True)
        if spec.root.layers and not os.path.exists(spec.root.target):
            os.makedirs(spec.root.work, mode=0o700, exist_ok=True)
            _make_like(spec.root.layers[-1], spec.root.target)
        for volume in spec.root.kept:
            for name in (UPPER, WORK):
                os.makedirs(os.path.join(volume.source, name), mode=0o700, exist_ok=True)
    except OSError as error:
        raise NsbuildError.from_os(f"cannot make {top}", error) from error


def _make_like(model: str, path: str) -> None:
    """The directory `path` with the mode and the time of another; / shows them."""
    status = os.stat(model)
    new = f"{path}.new"
    os.makedirs(new, exist_ok=True)
    os.chmod(new, status.st_mode & 0o7777)
    os.utime(new, ns=(status.st_mtime_ns, status.st_mtime_ns))
    os.rename(new, path)


def run_here(records: Records, record: Record, discard: Discard) -> int:
    """Run the container in the foreground, to its end; returns the exit code.

    `discard` removes it then, if it is one that is to be removed.
    """
    session = Session(records.directory(record.id), False, record.facts["timeout"])
    if not records.begin(record.id):
        raise _improper(record)
    # An open database must not go through a fork.
    records.close()
    code = EXIT_OURS
    try:
        code = _run(records.place, record, session)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
        raise
    finally:
        _ended(records.place, record, session, code, discard)
    return code


def _run(place: str, record: Record, session: Session) -> int:
    spec = decode(record.spec)
    if is_private(spec.root.network):
        from nsbuild.container.members import join

        records = Records(place)
        join(records, record)
        records.close()
    return run_container(spec, session)


def _ended(place: str, record: Record, session: Session, code: int, discard: Discard) -> None:
    records = Records(place)
    failed = not session.handover.begun or session.handover.exec_failure[0]
    records.end(record.id, code, CREATED if failed else EXITED)
    if record.facts["rm"]:
        discard(records, records.find(record.id))
    records.close()


def run_detached(records: Records, record: Record, discard: Discard) -> None:
    """Start the container in a process of its own; raises NsbuildError if it does not begin.

    `discard` as for `run_here`.
    """
    heard, said = os.pipe()
    session = Session(records.directory(record.id), True, record.facts["timeout"], said)
    spec = decode(record.spec)
    place = records.place
    log = os.path.join(session.directory, LOG)
    before = os.path.getsize(log) if os.path.exists(log) else 0
    records.close()
    child = os.fork()
    if child == 0:
        os.close(heard)
        os.setsid()
        if os.fork():
            os._exit(0)
        _keep(place, record, spec, session, discard)
    os.close(said)
    os.waitpid(child, 0)
    with open(heard, "rb") as file:
        complaint = file.read().decode(errors="replace")
    stage, number = session.handover.exec_failure
    if stage:
        _await_end(place, record)
        raise command_error(spec.command, stage, number)
    if complaint or not session.handover.begun:
        _await_end(place, record)
        lines = complaint.splitlines() or [
            line.text.decode(errors="replace").rstrip("\n") for line in read_log(log, before)[0]
        ]
        raise NsbuildError("\n".join(line.removeprefix("Error: ") for line in lines) or "it died")


def _await_end(place: str, record: Record) -> None:
    """Wait until the process that could not start it has put that down."""
    end = time.monotonic() + _SOON
    while time.monotonic() < end:
        records = Records(place)
        try:
            if records.find(record.id).state != RUNNING:
                return
        except NsbuildError:
            return
        finally:
            records.close()
        time.sleep(0.01)


def _keep(
    place: str, record: Record, spec: ContainerSpec, session: Session, discard: Discard
) -> NoReturn:
    """The life of the process that runs a detached container."""
    code = EXIT_OURS
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1):
            os.dup2(null, number)
        os.close(null)
        os.dup2(session.started, 2)
        os.chdir("/")
        records = Records(place)
        if not records.begin(record.id):
            raise _improper(record)
        records.close()
        try:
            code = _run(place, record, session)
        finally:
            _ended(place, record, session, code, discard)
    except NsbuildError as error:
        report(str(error))
        code = error.code
    finally:
        os._exit(code)


def _improper(record: Record) -> NsbuildError:
    return NsbuildError(f"container {record.id} is running already: container state improper")


def send_signal(records: Records, record: Record, number: int) -> None:
    """Send the command a signal; raises NsbuildError where nobody is there to take it."""
    try:
        with connect_to(records.directory(record.id)) as front:
            front.send(SIGNAL + b"%d" % number)
            front.recv(1)
    except OSError as error:
        raise NsbuildError.from_os(f"cannot signal container {record.id}", error) from error


def stop(records: Records, record: Record, seconds: float, number: int) -> None:
    """Signal the command, and kill it if it is there after so many seconds of real time."""
    if record.state != RUNNING:
        return
    pidfd = open_front(record)
    if pidfd < 0:
        return
    try:
        send_signal(records, record, number)
        if number == signal.SIGKILL or not ends(pidfd, seconds):
            send_signal(records, record, signal.SIGKILL)
            if not ends(pidfd, _SOON):
                # Whoever should have done it cannot: the container dies with its front.
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                ends(pidfd, _SOON)
    except NsbuildError:
        if not ends(pidfd, _SOON):
            raise
    finally:
        os.close(pidfd)


def open_front(record: Record) -> int:
    """A pidfd of the process that runs the container, -1 if that is gone."""
    if record.state != RUNNING:
        return -1
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return -1
    if is_alive(record):
        return pidfd
    os.close(pidfd)
    return -1


def ends(pidfd: int, seconds: float | None) -> bool:
    """Whether a process ends within so many seconds; None waits for ever."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def await_exit(records: Records, record: Record) -> int:
    """The exit code of the container, once it has ended."""
    if record.state != RUNNING:
        return record.code
    try:
        with connect_to(records.directory(record.id)) as front:
            front.send(WAIT)
            message = front.recv(64)
        if message[:1] == LEFT:
            _forgotten_or_ended(records, record)
            return int(message[1:])
    except OSError:
        pass
    pidfd = open_front(record)
    if pidfd >= 0:
        ends(pidfd, None)
        os.close(pidfd)
    code = records.last_code(record)
    return records.find(record.id).code if code is None else code


def _forgotten_or_ended(records: Records, record: Record) -> None:
    """Wait until the end is on record too, for who looks next."""
    pidfd = open_front(record)
    if pidfd >= 0:
        ends(pidfd, _SOON)
        os.close(pidfd)


class IsRunning(NsbuildError):
    """A container cannot be removed, because it runs."""


def remove(records: Records, record: Record, let_go: Callable[[], None]) -> None:
    """Remove a container that does not run, with all that it has written.

    `let_go` ends what else was kept for it, before it is forgotten: who is killed on the way leaves
    a row by which all of this can be done again. One that somebody else has removed is as good.
    Raises NsbuildError, IsRunning if it runs.
    """
    if not records.claim_removal(record):
        if not records.has_id(record.id):
            return
        raise IsRunning(
            f"cannot remove container {record.id} as it is running - running or paused containers "
            "cannot be removed without force: container state improper",
            code=2,
        )
    top = records.directory(record.id)
    if os.path.isdir(top):
        remove_tree(top)
    let_go()
    records.remove(record.id)


def remove_tree(top: str) -> None:
    """Remove a container's directory, whoever owns what is in it.

    Somebody else may be doing the same, and who was killed while writing may not have died yet.
    """

    def act() -> None:
        end = time.monotonic() + _SOON
        while True:
            try:
                _remove_all(top)
                return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or time.monotonic() >= end:
                    raise NsbuildError.from_os(f"cannot remove {top}", error) from error
                time.sleep(0.05)

    as_root(act)


def _remove_all(top: str) -> None:
    # overlayfs leaves its working directory without any permission.
    for place, directories, _ in os.walk(top):
        if place.endswith("/work"):
            for name in directories:
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(os.path.join(place, name), 0o700)

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    # Not by shutil: to load it, and with it what it has for archives, takes longer than this does.
    # That `top` itself is gone already it does not tell `failed`.
    with contextlib.suppress(FileNotFoundError):
        for _, directories, files, fd in os.fwalk(top, topdown=False, onerror=failed):
            for names, act in ((files, os.unlink), (directories, _remove_directory)):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        act(name, dir_fd=fd)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(top)


def _remove_directory(name: str, dir_fd: int) -> None:
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except NotADirectoryError:
        # A link to one.
        os.unlink(name, dir_fd=dir_fd)
