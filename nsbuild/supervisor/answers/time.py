"""Time: every clock, every sleep, and the calls that give CPU time or uptime away.

Performance contract: clock_gettime is the call that this program is known for; it costs one write
into the guest besides RECV and SEND. Wall clock reads (REALTIME, its coarse and alarm forms, TAI)
move the wall clock by a step; MONOTONIC, RAW and BOOTTIME move by the monotonic step, CPU clocks by
more of them the more often they are read. Sleeping moves wall and monotonic time by the time slept,
but no CPU clock, since a sleeping process uses no CPU. See clock_gettime(2), clock_nanosleep(2),
times(2), getrusage(2), sysinfo(2) and adjtimex(2) for what the kernel answers.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

from nsbuild.determinism.clock import LATEST, NSEC_PER_SEC
from nsbuild.determinism.memory import MEMORY_FREE, MEMORY_TOTAL
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.processes import Process

CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1
CLOCK_PROCESS_CPUTIME_ID = 2
CLOCK_THREAD_CPUTIME_ID = 3
CLOCK_MONOTONIC_RAW = 4
CLOCK_REALTIME_COARSE = 5
CLOCK_MONOTONIC_COARSE = 6
CLOCK_BOOTTIME = 7
CLOCK_REALTIME_ALARM = 8
CLOCK_BOOTTIME_ALARM = 9
CLOCK_TAI = 11

WALL_CLOCKS = frozenset((CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_REALTIME_ALARM, CLOCK_TAI))
MONOTONIC_CLOCKS = frozenset(
    (
        CLOCK_MONOTONIC,
        CLOCK_MONOTONIC_RAW,
        CLOCK_MONOTONIC_COARSE,
        CLOCK_BOOTTIME,
        CLOCK_BOOTTIME_ALARM,
    )
)
CPU_CLOCKS = frozenset((CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID))

CPUCLOCK_CLOCK_MASK = 3
CPUCLOCK_PERTHREAD_MASK = 4
CPUCLOCK_MAX = 3
CLOCKFD_MASK = 7
CLOCKFD = 3

RESOLUTION = 1
"""clock_getres of every clock, nanoseconds; a kernel with high-resolution timers says the same."""
COARSE_RESOLUTION = 4_000_000
"""clock_getres of the coarse clocks: one tick of a 250 Hz kernel, whatever this one's is."""

TIMER_ABSTIME = 1
SLEEP_UNSUPPORTED = frozenset(
    (
        CLOCK_THREAD_CPUTIME_ID,
        CLOCK_MONOTONIC_RAW,
        CLOCK_REALTIME_COARSE,
        CLOCK_MONOTONIC_COARSE,
    )
)

NSEC_PER_CLOCK_TICK = NSEC_PER_SEC // 100
"""A clock_t of times(2): USER_HZ is 100 on every Linux."""

RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD = 0, -1, 1

STA_UNSYNC = 0x40
TIME_ERROR = 5
ADJ_OFFSET_SS_READ = 0xA001

TIMEX_SIZE = 208
TIMESPEC = struct.Struct("=qq")
_TIMEVAL = struct.Struct("=qq")
_TMS = struct.Struct("=4q")
_RUSAGE = struct.Struct("=4q14q")
_SYSINFO = struct.Struct("=q3Q6QHxxxxxx2QIxxxx")


def sysinfo_at(monotonic: int) -> bytes:
    """The struct sysinfo of that moment, in nanoseconds since boot."""
    uptime = monotonic // NSEC_PER_SEC
    return _SYSINFO.pack(uptime, 0, 0, 0, MEMORY_TOTAL, MEMORY_FREE, 0, 0, 0, 0, 1, 0, 0, 1)


Sleep = Callable[[Call, Process, int, int], None]
"""(call, process, nanoseconds, where the rest goes that a signal leaves)."""


class Time:
    """Answers for the time calls.

    `process_of_pid` finds the process of a CPU clock; `sleep` keeps a call that sleeps.
    """

    def __init__(self, process_of_pid: Callable[[int], Process | None], sleep: Sleep) -> None:
        self.process_of_pid = process_of_pid
        self._keep = sleep

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {
            NR["clock_gettime"]: self.clock_gettime,
            NR["gettimeofday"]: self.gettimeofday,
            NR["time"]: self.time,
            NR["clock_getres"]: self.clock_getres,
            NR["times"]: self.times,
            NR["getrusage"]: self.getrusage,
            NR["sysinfo"]: self.sysinfo,
            NR["adjtimex"]: self.adjtimex,
            NR["clock_adjtime"]: self.clock_adjtime,
            NR["nanosleep"]: self.nanosleep,
            NR["clock_nanosleep"]: self.clock_nanosleep,
        }

    def clock_gettime(self, call: Call, process: Process) -> None:
        """clock_gettime(2)."""
        which = call.args[0] & 0xFFFFFFFF
        clock = process.clock
        owner: Process | None = process
        if which in WALL_CLOCKS:
            value = clock.next_wall()
        elif which in MONOTONIC_CLOCKS:
            value = clock.next_monotonic()
        else:
            owner = self._cpu_clock_owner(signed32(which), process)
            if owner is None:
                call.fail(errno.EINVAL)
                return
            value = owner.next_cpu() if owner is process else owner.cpu
        if (
            process.memory.write(call, call.args[1], TIMESPEC.pack(*divmod(value, NSEC_PER_SEC)))
            < 16
        ):
            call.fail(errno.EFAULT)
            return
        call.said = value
        if call.answer():
            if which in WALL_CLOCKS:
                clock.wall = value
            elif which in MONOTONIC_CLOCKS:
                clock.monotonic = value
            elif owner is process:
                process.read_cpu(value)

    def _cpu_clock_owner(self, which: int, process: Process) -> Process | None:
        """Whose CPU clock `which` is, or None where there is no such clock.

        A negative number is a process's or a descriptor's (posix-timers.h): the bits above the
        lowest three are the inverted pid. No device of the container is a dynamic POSIX clock.
        """
        if which in CPU_CLOCKS:
            return process
        if which >= 0 or which & CPUCLOCK_CLOCK_MASK >= CPUCLOCK_MAX:
            return None
        pid = ~(which >> 3)
        return process if pid == 0 else self.process_of_pid(pid)

    def clock_getres(self, call: Call, process: Process) -> None:
        """clock_getres(2)."""
        which = signed32(call.args[0])
        if which in (CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE):
            resolution = COARSE_RESOLUTION
        elif (
            which in WALL_CLOCKS
            or which in MONOTONIC_CLOCKS
            or self._cpu_clock_owner(which, process) is not None
        ):
            resolution = RESOLUTION
        else:
            call.fail(errno.EINVAL)
            return
        address = call.args[1]
        if address and process.memory.write(call, address, TIMESPEC.pack(0, resolution)) < 16:
            call.fail(errno.EFAULT)
            return
        call.answer()

    def gettimeofday(self, call: Call, process: Process) -> None:
        """gettimeofday(2): the time zone is always UTC."""
        wall = process.clock.next_wall()
        seconds, nanoseconds = divmod(wall, NSEC_PER_SEC)
        timeval, timezone = call.args[0], call.args[1]
        write = process.memory.write
        if timeval and write(call, timeval, _TIMEVAL.pack(seconds, nanoseconds // 1000)) < 16:
            call.fail(errno.EFAULT)
            return
        if timezone and write(call, timezone, bytes(8)) < 8:
            call.fail(errno.EFAULT)
            return
        call.said = wall
        if call.answer() and timeval:
            process.clock.wall = wall

    def time(self, call: Call, process: Process) -> None:
        """time(2)."""
        wall = process.clock.next_wall()
        seconds = wall // NSEC_PER_SEC
        address = call.args[0]
        if address and process.memory.write(call, address, struct.pack("=q", seconds)) < 8:
            call.fail(errno.EFAULT)
            return
        if call.answer(seconds):
            process.clock.wall = wall

    def times(self, call: Call, process: Process) -> None:
        """times(2): all CPU time is user time; returns monotonic time in clock ticks."""
        monotonic = process.clock.next_monotonic()
        cpu = process.next_cpu()
        ticks = [cpu // NSEC_PER_CLOCK_TICK, 0, process.children_cpu // NSEC_PER_CLOCK_TICK, 0]
        address = call.args[0]
        if address and process.memory.write(call, address, _TMS.pack(*ticks)) < _TMS.size:
            call.fail(errno.EFAULT)
            return
        if call.answer(monotonic // NSEC_PER_CLOCK_TICK):
            process.clock.monotonic = monotonic
            process.read_cpu(cpu)

    def getrusage(self, call: Call, process: Process) -> None:
        """getrusage(2): user time from the CPU clock, everything else 0."""
        who = signed32(call.args[0])
        if who not in (RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD):
            call.fail(errno.EINVAL)
            return
        cpu = process.next_cpu()
        shown = process.children_cpu if who == RUSAGE_CHILDREN else cpu
        seconds, nanoseconds = divmod(shown, NSEC_PER_SEC)
        data = _RUSAGE.pack(seconds, nanoseconds // 1000, *(0,) * 16)
        if process.memory.write(call, call.args[1], data) < _RUSAGE.size:
            call.fail(errno.EFAULT)
            return
        call.said = shown
        if call.answer() and who != RUSAGE_CHILDREN:
            process.read_cpu(cpu)

    def sysinfo(self, call: Call, process: Process) -> None:
        """sysinfo(2): uptime from the monotonic clock, the rest constant."""
        monotonic = process.clock.next_monotonic()
        data = sysinfo_at(monotonic)
        if process.memory.write(call, call.args[0], data) < _SYSINFO.size:
            call.fail(errno.EFAULT)
            return
        if call.answer():
            process.clock.monotonic = monotonic

    def adjtimex(self, call: Call, process: Process) -> None:
        """adjtimex(2) as a reader; setting is refused."""
        self._read_timex(call, process, call.args[0])

    def clock_adjtime(self, call: Call, process: Process) -> None:
        """clock_adjtime(2): only CLOCK_REALTIME has it."""
        which, address = signed32(call.args[0]), call.args[1]
        if which == CLOCK_REALTIME:
            self._read_timex(call, process, address)
            return
        known = (
            which in WALL_CLOCKS
            or which in MONOTONIC_CLOCKS
            or self._cpu_clock_owner(which, process) is not None
        )
        if len(process.memory.read(call, address, TIMEX_SIZE)) < TIMEX_SIZE:
            call.fail(errno.EFAULT)
        else:
            call.fail(errno.EOPNOTSUPP if known else errno.EINVAL)

    def _read_timex(self, call: Call, process: Process, address: int) -> None:
        data = process.memory.read(call, address, 4)
        if len(data) < 4:
            call.fail(errno.EFAULT)
            return
        modes = int.from_bytes(data, "little")
        if modes not in (0, ADJ_OFFSET_SS_READ):
            call.fail(errno.EPERM)
            return
        wall = process.clock.next_wall()
        if process.memory.write(call, address, _timex(modes, wall)) < TIMEX_SIZE:
            call.fail(errno.EFAULT)
            return
        call.said = wall
        if call.answer(TIME_ERROR):
            process.clock.wall = wall

    def nanosleep(self, call: Call, process: Process) -> None:
        """nanosleep(2)."""
        duration = self._interval(call, process, call.args[0])
        if duration is not None:
            self._sleep(call, process, duration, call.args[1])

    def clock_nanosleep(self, call: Call, process: Process) -> None:
        """clock_nanosleep(2), relative and absolute."""
        which, flags = signed32(call.args[0]), call.args[1]
        if which in SLEEP_UNSUPPORTED or (which < 0 and which & CLOCKFD_MASK == CLOCKFD):
            call.fail(errno.EOPNOTSUPP)
            return
        cpu_clock = which not in WALL_CLOCKS and which not in MONOTONIC_CLOCKS
        if cpu_clock and which >= 0 and which not in CPU_CLOCKS:
            call.fail(errno.EINVAL)
            return
        duration = self._interval(call, process, call.args[2])
        if duration is None:
            return
        if cpu_clock and not self._can_sleep_on(which, process):
            call.fail(errno.EINVAL)
            return
        if flags & TIMER_ABSTIME:
            if cpu_clock:
                duration = max(0, duration - process.cpu)
            else:
                duration = process.clock.until(duration, which in WALL_CLOCKS)
        # The kernel tells no rest of an absolute time.
        self._sleep(call, process, duration, 0 if flags & TIMER_ABSTIME else call.args[3])

    def _can_sleep_on(self, which: int, process: Process) -> bool:
        """Whether a CPU clock can wake `process`: not that of the thread that would sleep on it."""
        own_thread = which < 0 and which & CPUCLOCK_PERTHREAD_MASK and ~(which >> 3) == 0
        return not own_thread and self._cpu_clock_owner(which, process) is not None

    def _interval(self, call: Call, process: Process, address: int) -> int | None:
        """The struct timespec at `address` in nanoseconds; None after having failed the call."""
        data = process.memory.read(call, address, TIMESPEC.size)
        if len(data) < TIMESPEC.size:
            call.fail(errno.EFAULT)
            return None
        seconds, nanoseconds = TIMESPEC.unpack(data)
        if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC:
            call.fail(errno.EINVAL)
            return None
        return min(int(seconds) * NSEC_PER_SEC + int(nanoseconds), LATEST)

    def _sleep(self, call: Call, process: Process, duration: int, rest: int) -> None:
        # Whoever sleeps to the end of time waits for a signal (`sleep infinity`, gnulib's test of
        # nanosleep). There would be no later time for anything that is done afterwards.
        if process.clock.wall + duration >= LATEST:
            call.resume()
        else:
            self._keep(call, process, duration, rest)


def _timex(modes: int, wall: int) -> bytes:
    """struct timex of a clock that nobody has ever adjusted (linux/timex.h)."""
    seconds, nanoseconds = divmod(wall, NSEC_PER_SEC)
    data = struct.pack(
        "=I4xqqqqi4xqqqqqq",
        modes,
        0,  # offset
        0,  # freq
        16_000_000,  # maxerror: NTP_PHASE_LIMIT
        16_000_000,  # esterror
        STA_UNSYNC,
        2,  # constant
        1,  # precision
        32_768_000,  # tolerance: MAXFREQ_SCALED / PPM_SCALE
        seconds,
        nanoseconds // 1000,
        10_000,  # tick: USEC_PER_SEC / USER_HZ
    )
    return data.ljust(TIMEX_SIZE, b"\0")
