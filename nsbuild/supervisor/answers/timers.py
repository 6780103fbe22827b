"""Timers: alarm, setitimer, timer_create, timerfd; all of them in virtual time.

None reaches the kernel. A timer is a deadline (see nsbuild.supervisor.waits) that sends a signal
or, for a timerfd, counts up an eventfd, which the program holds instead: it is read the same way.
An interval starts again from when it was due. Relative times count by both clocks of the process;
the wall clock, which a program may read often, only counts for a timer's signal once it has been
read _PATIENCE times as well, for nobody expects a watchdog from asking for the date. Timers on CPU
clocks follow the virtual CPU clock, which moves only when it is read, and so hardly ever fire.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
from collections.abc import Callable
from contextlib import suppress

from nsbuild.determinism.clock import LATEST, NSEC_PER_SEC
from nsbuild.kernel.process import read_small, send_timer_signal
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.borrow import borrow
from nsbuild.supervisor.deadline import Deadline
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.waits import Waits

from .posixtimer import Posix
from .time import CPU_CLOCKS, MONOTONIC_CLOCKS, WALL_CLOCKS

_PATIENCE = 1000
"""Steps of the wall clock beyond a timer's end after which it fires for that alone."""

ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF = 0, 1, 2
TIMER_ABSTIME = TFD_TIMER_ABSTIME = 1
TFD_SETTIME_FLAGS = 3
SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID = 0, 1, 4
_MOST_TIMERS = 10_000
_MOST_TICKS = 1 << 62
_MANY_TICKS = 16
_MOST_SKIPPED = 1 << 20

_ITIMERVAL = struct.Struct("=4q")
"""struct itimerval and struct itimerspec: interval, then value, each in seconds and a fraction."""
_SIGEVENT = struct.Struct("=Qiii44x")
"""struct sigevent: value, signal, notify, thread."""


class Timer(Deadline):
    """A timer that has been set; `interval` in nanoseconds.

    `act` is what it does, given how often it has been due since; it returns whether nobody has
    taken notice for long. Then an interval timer waits twice as long each time, and tells
    all of it at once: a ticker of a millisecond that nobody reads would make an hour's sleep take
    four million turns.
    """

    def __init__(
        self,
        waits: Waits,
        process: Process,
        duration: int,
        interval: int,
        act: Callable[[int], bool],
    ) -> None:
        super().__init__(process, duration, _PATIENCE * process.clock.rates.step)
        self.interval = interval
        self._waits = waits
        self._act = act
        self._skip = 1

    def happen(self) -> None:
        """It is due; an interval timer is set again."""
        self.move_clock()
        if not self.interval:
            self._act(1)
            return
        late = max(0, self.process.clock.monotonic - self.at)
        unseen = self._act(self._skip + late // self.interval)
        self._skip = min(2 * self._skip, _MOST_SKIPPED) if unseen else 1
        self.start(self._skip * self.interval - late % self.interval)
        self._waits.set(self)

    def left(self) -> tuple[int, int]:
        """The interval and the time until it is due, as the calls that read timers tell them."""
        # A timer that still runs is never seen at 0.
        return self.interval, max(1, self.at - self.process.clock.monotonic)


class TimerFd:
    """A timer of timerfd_create(2)."""

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.setting: Timer | None = None


class Timers:
    """Answers for setting and reading timers.

    `outside` finds our number for a thread of a process by its number inside, 0 if it has none.
    """

    def __init__(self, waits: Waits, outside: Callable[[Process, int], int]) -> None:
        self._waits = waits
        self._outside = outside
        self._real: dict[Process, Timer] = {}
        self._cpu: dict[tuple[Process, int], tuple[int, int]] = {}
        self._posix: dict[Process, dict[int, Posix]] = {}
        self._timerfds: dict[int, TimerFd] = {}

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["alarm"]: self.alarm,
            NR["setitimer"]: self.setitimer,
            NR["getitimer"]: self.getitimer,
            NR["timer_create"]: self.create,
            NR["timer_settime"]: self.settime,
            NR["timer_gettime"]: self.gettime,
            NR["timer_getoverrun"]: self.getoverrun,
            NR["timer_delete"]: self.delete,
            NR["timerfd_create"]: self.timerfd_create,
            NR["timerfd_settime"]: self.timerfd_settime,
            NR["timerfd_gettime"]: self.timerfd_gettime,
        }

    def forget(self, process: Process) -> None:
        """`process` has ended; its deadlines have been cancelled."""
        self._real.pop(process, None)
        self._posix.pop(process, None)
        for which in (ITIMER_VIRTUAL, ITIMER_PROF):
            self._cpu.pop((process, which), None)

    def executed(self, process: Process) -> None:
        """`process` runs a new program, which POSIX timers do not live to see (timer_create(2))."""
        for timer in self._posix.pop(process, {}).values():
            self._stop(timer.setting)

    def _stop(self, setting: Timer | None) -> None:
        if setting is not None:
            self._waits.cancel(setting)

    def _start(
        self, process: Process, duration: int, interval: int, act: Callable[[int], bool]
    ) -> Timer:
        timer = Timer(self._waits, process, duration, interval, act)
        self._waits.set(timer)
        return timer

    # Interval timers.

    def alarm(self, call: Call, process: Process) -> None:
        """alarm(2): answers with the seconds that were left, rounded as the kernel does."""
        old = self._real.get(process)
        left = 0
        if old is not None:
            seconds, rest = divmod(old.left()[1], NSEC_PER_SEC)
            left = seconds + (rest >= NSEC_PER_SEC // 2 or not seconds)
        if call.answer(left):
            self._set_real(process, (call.args[0] & 0xFFFFFFFF) * NSEC_PER_SEC, 0)

    def setitimer(self, call: Call, process: Process) -> None:
        """setitimer(2)."""
        which = signed32(call.args[0])
        new = _read_itimer(call, process, call.args[1], 1000) if call.args[1] else (0, 0)
        if new is None:
            call.fail(errno.EFAULT)
        elif which not in (ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF) or min(new) < 0:
            call.fail(errno.EINVAL)
        elif self._tell_itimer(call, process, which, call.args[2]) and call.answer():
            interval, value = new
            if which == ITIMER_REAL:
                self._set_real(process, value, interval)
            else:
                self._cpu[process, which] = interval, value

    def getitimer(self, call: Call, process: Process) -> None:
        """getitimer(2)."""
        which = signed32(call.args[0])
        if which not in (ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF):
            call.fail(errno.EINVAL)
        elif self._tell_itimer(call, process, which, call.args[1] or 1):
            call.answer()

    def _tell_itimer(self, call: Call, process: Process, which: int, address: int) -> bool:
        """Write what a timer is set to; False after having failed the call."""
        if which == ITIMER_REAL:
            told = _left(self._real.get(process))
        else:
            told = self._cpu.get((process, which), (0, 0))
        return _tell(call, process, address, told, 1000)

    def _set_real(self, process: Process, value: int, interval: int) -> None:
        self._stop(self._real.pop(process, None))
        if not value:
            return

        def act(_count: int) -> bool:
            if not interval:
                self._real.pop(process, None)
            _signal(process, signal.SIGALRM)
            return False

        self._real[process] = self._start(process, value, interval, act)

    # POSIX timers.

    def create(self, call: Call, process: Process) -> None:
        """timer_create(2)."""
        clock = signed32(call.args[0])
        own = self._posix.setdefault(process, {})
        number = next(i for i in range(len(own) + 1) if i not in own)
        event = (number, signal.SIGALRM, SIGEV_SIGNAL, 0)
        if call.args[1]:
            data = process.memory.read(call, call.args[1], _SIGEVENT.size)
            if len(data) < _SIGEVENT.size:
                call.fail(errno.EFAULT)
                return
            event = _SIGEVENT.unpack(data)
        value, signo, notify, thread = event
        target = self._outside(process, thread) if notify == SIGEV_THREAD_ID else 0
        if not _is_clock(clock) or notify not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID):
            call.fail(errno.EINVAL if clock != 4 else errno.EOPNOTSUPP)
        elif (notify != SIGEV_NONE and not 0 < signo <= 64) or (
            notify == SIGEV_THREAD_ID and not target
        ):
            call.fail(errno.EINVAL)
        elif len(own) >= _MOST_TIMERS:
            call.fail(errno.EAGAIN)
        elif process.memory.write(call, call.args[2], struct.pack("=i", number)) < 4:
            call.fail(errno.EFAULT)
        elif call.answer():
            own[number] = Posix(clock, signo if notify != SIGEV_NONE else 0, target, value)

    def _timer(self, call: Call, process: Process) -> Posix | None:
        timer = self._posix.get(process, {}).get(signed32(call.args[0]))
        if timer is None:
            call.fail(errno.EINVAL)
        return timer

    def settime(self, call: Call, process: Process) -> None:
        """timer_settime(2)."""
        new = _read_itimer(call, process, call.args[2], 1)
        if not call.args[2] or (new is not None and min(new) < 0):
            call.fail(errno.EINVAL)
            return
        if new is None:
            call.fail(errno.EFAULT)
            return
        timer = self._timer(call, process)
        if timer is None:
            return
        told = _left(timer.setting)
        if not _tell(call, process, call.args[3], told, 1) or not call.answer():
            return
        self._stop(timer.setting)
        timer.setting = None
        timer.reset()
        number = signed32(call.args[0])
        interval, value = new
        if not value or timer.clock in CPU_CLOCKS:
            return

        def act(count: int) -> bool:
            if not interval:
                timer.setting = None
            if timer.due(process, count, not self._waits.busy):
                _signal(process, timer.number, timer, number, count - 1)
            return False

        absolute = bool(call.args[1] & TIMER_ABSTIME)
        duration = _duration(process, value, timer.clock, absolute)
        timer.setting = self._start(process, duration, interval, act)

    def gettime(self, call: Call, process: Process) -> None:
        """timer_gettime(2)."""
        timer = self._timer(call, process)
        if timer is not None:
            told = _left(timer.setting)
            if _tell(call, process, call.args[1] or 1, told, 1):
                call.answer()

    def getoverrun(self, call: Call, process: Process) -> None:
        """timer_getoverrun(2)."""
        timer = self._timer(call, process)
        if timer is not None:
            timer.is_pending(process)
            call.answer(timer.overrun)

    def delete(self, call: Call, process: Process) -> None:
        """timer_delete(2)."""
        timer = self._timer(call, process)
        if timer is not None and call.answer():
            self._stop(timer.setting)
            del self._posix[process][signed32(call.args[0])]

    # Timers that are descriptors.

    def timerfd_create(self, call: Call, _process: Process) -> None:
        """timerfd_create(2): an eventfd, whose number we remember (proc_pid_fdinfo(5))."""
        clock, flags = signed32(call.args[0]), call.args[1] & 0xFFFFFFFF
        if clock not in (0, 1, 7, 8, 9) or flags & ~(os.O_CLOEXEC | os.O_NONBLOCK):
            call.fail(errno.EINVAL)
            return
        fd = os.eventfd(0, os.EFD_CLOEXEC | flags & os.O_NONBLOCK)
        try:
            if call.answer_with(fd, flags & os.O_CLOEXEC):
                self._timerfds[_eventfd_number(fd)] = TimerFd(clock)
        except OSError as error:
            call.fail(error.errno or errno.EMFILE)
        finally:
            os.close(fd)

    def _timerfd(self, call: Call, process: Process) -> tuple[int, TimerFd] | None:
        """Our duplicate, to be closed, and the timer; None after having failed the call."""
        try:
            fd = borrow(call.tid, process, signed32(call.args[0]))
        except OSError:
            call.fail(errno.EBADF)
            return None
        timer = self._timerfds.get(_eventfd_number(fd))
        if timer is None:
            os.close(fd)
            call.fail(errno.EINVAL)
            return None
        return fd, timer

    def timerfd_settime(self, call: Call, process: Process) -> None:
        """timerfd_settime(2)."""
        new = _read_itimer(call, process, call.args[2], 1)
        if new is None or min(new) < 0 or call.args[1] & ~TFD_SETTIME_FLAGS:
            call.fail(errno.EFAULT if new is None else errno.EINVAL)
            return
        found = self._timerfd(call, process)
        if found is None:
            return
        fd, timer = found
        told = _left(timer.setting)
        if not _tell(call, process, call.args[3], told, 1) or not call.answer():
            os.close(fd)
            return
        self._stop(timer.setting)
        timer.setting = None
        _take(fd)
        interval, value = new
        if not value:
            os.close(fd)
            return
        duration = _duration(process, value, timer.clock, bool(call.args[1] & TFD_TIMER_ABSTIME))
        timer.setting = Ticking(self._waits, process, duration, interval, fd, timer)
        self._waits.set(timer.setting)

    def timerfd_gettime(self, call: Call, process: Process) -> None:
        """timerfd_gettime(2)."""
        found = self._timerfd(call, process)
        if found is not None:
            fd, timer = found
            os.close(fd)
            told = _left(timer.setting)
            if _tell(call, process, call.args[1] or 1, told, 1):
                call.answer()


class Ticking(Timer):
    """The setting of a timerfd: counts up `fd`, which is ours to close.

    Who has set it may end before others that have the descriptor.
    """

    outlives = True

    def __init__(
        self, waits: Waits, process: Process, duration: int, interval: int, fd: int, timer: TimerFd
    ) -> None:
        super().__init__(waits, process, duration, interval, self._count)
        self._fd = fd
        self._timer = timer

    def _count(self, count: int) -> bool:
        # Writing blocks where the sum is too large, and the guest may have written, too.
        before = _take(self._fd)
        os.eventfd_write(self._fd, min(before + count, _MOST_TICKS))
        if not self.interval:
            self._timer.setting = None
            self.cancelled()
        return before >= _MANY_TICKS

    def cancelled(self) -> None:
        """Nothing will be counted any more."""
        os.close(self._fd)


def _is_clock(clock: int) -> bool:
    return clock in WALL_CLOCKS or clock in MONOTONIC_CLOCKS - {4, 6} or clock in CPU_CLOCKS


def _duration(process: Process, value: int, clock: int, absolute: bool) -> int:
    """How long it is until `value` of that clock."""
    return max(1, process.clock.until(value, clock in WALL_CLOCKS)) if absolute else value


def _left(setting: Timer | None) -> tuple[int, int]:
    """What the calls tell that read a timer with this setting."""
    return (0, 0) if setting is None else setting.left()


def _signal(
    process: Process, number: int, timer: Posix | None = None, which: int = 0, overrun: int = 0
) -> None:
    with suppress(OSError):
        if timer is None:
            signal.pidfd_send_signal(process.pidfd, number)
        else:
            send_timer_signal(
                *(process.pidfd, process.pid, timer.thread, number),
                *(which, overrun, timer.value),
            )


def _read_itimer(call: Call, process: Process, address: int, unit: int) -> tuple[int, int] | None:
    """(interval, value) in nanoseconds, negative for invalid ones; None if unreadable.

    `unit` is what the fractions count, in nanoseconds.
    """
    data = process.memory.read(call, address, _ITIMERVAL.size)
    if len(data) < _ITIMERVAL.size:
        return None
    parts = _ITIMERVAL.unpack(data)
    times = []
    for seconds, fraction in (parts[:2], parts[2:]):
        valid = seconds >= 0 and 0 <= fraction < NSEC_PER_SEC // unit
        times.append(min(seconds * NSEC_PER_SEC + fraction * unit, LATEST) if valid else -1)
    return times[0], times[1]


def _tell(call: Call, process: Process, address: int, told: tuple[int, int], unit: int) -> bool:
    """Write (interval, value) to `address`, if not 0; False after having failed the call."""
    parts: list[int] = []
    for value in told:
        seconds, rest = divmod(value, NSEC_PER_SEC)
        parts += seconds, rest // unit
    if address and process.memory.write(call, address, _ITIMERVAL.pack(*parts)) < _ITIMERVAL.size:
        call.fail(errno.EFAULT)
        return False
    return True


def _eventfd_number(fd: int) -> int:
    """What tells one eventfd from another (eventfd-id, Linux 5.2); -1 for what is none."""
    for line in read_small(f"self/fdinfo/{fd}").splitlines():
        if line.startswith(b"eventfd-id:"):
            return int(line.split()[1])
    return -1


def _take(fd: int) -> int:
    """Reset the count of an eventfd; returns what it was."""
    count = bytearray(8)
    with suppress(BlockingIOError):
        os.preadv(fd, [count], -1, os.RWF_NOWAIT)
    return int.from_bytes(count, "little")
