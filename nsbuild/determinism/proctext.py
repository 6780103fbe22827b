"""Texts of /proc/PID files as a build sees them: what the host or chance put there is replaced.

Each function takes the kernel's bytes (formats in proc(5)) and returns what is shown. Sizes of
memory are constants, since they depend on the kernel and on what else runs; CPU times come from the
process's virtual clock; ids of mounts are their places in the list.
"""

from __future__ import annotations

from collections.abc import Callable

DISK = b"ext4"
DISKS = frozenset(b"ext4 ext3 ext2 tmpfs overlay btrfs xfs f2fs zfs devtmpfs".split())
"""File systems that a volume may lie on without the build's knowing which."""

_STATUS = {
    b"VmPeak": b"    8192 kB",
    b"VmSize": b"    8192 kB",
    b"VmHWM": b"    4096 kB",
    b"VmRSS": b"    4096 kB",
    b"RssAnon": b"    1024 kB",
    b"RssFile": b"    3072 kB",
    b"RssShmem": b"       0 kB",
    b"VmData": b"    1024 kB",
    b"VmStk": b"     132 kB",
    b"VmExe": b"    1024 kB",
    b"VmLib": b"    2048 kB",
    b"VmPTE": b"      64 kB",
    b"VmSwap": b"       0 kB",
    b"FDSize": b"64",
    b"SigQ": b"0/16384",
    b"Speculation_Store_Bypass": b"thread vulnerable",
    b"SpeculationIndirectBranch": b"conditional enabled",
    b"Cpus_allowed": b"1",
    b"Cpus_allowed_list": b"0",
    b"Mems_allowed": b"1",
    b"Mems_allowed_list": b"0",
    b"voluntary_ctxt_switches": b"1",
    b"nonvoluntary_ctxt_switches": b"0",
}
_NEWER = frozenset(b"Kthread untag_mask x86_Thread_features x86_Thread_features_locked".split())
"""Lines of /proc/PID/status that not every kernel has."""

_FLAGS, _MINFLT, _MAJFLT = 6, 7, 10
_UTIME, _CUTIME, _PRIORITY, _STARTTIME = 11, 13, 15, 19
_VSIZE, _RSS, _RSSLIM = 20, 21, 22
_CONSTANT = {
    _FLAGS: b"4194304",
    **dict.fromkeys(range(_MINFLT, _MAJFLT + 1), b"0"),
    _UTIME + 1: b"0",
    _CUTIME + 1: b"0",
    _PRIORITY: b"20",
    _PRIORITY + 1: b"0",
    _STARTTIME: b"0",
    _VSIZE: b"8388608",
    _RSS: b"1024",
    _RSSLIM: b"18446744073709551615",
    # Start of the stack, stack and instruction pointers, wait channel, swapped pages.
    **dict.fromkeys((25, 26, 27, 32, 33, 34), b"0"),
    # Processor, real-time priority, policy, block I/O delay, guest times.
    **dict.fromkeys((36, 37, 38, 39, 40, 41), b"0"),
    # Addresses of arguments and environment, which lie where their length puts them.
    **dict.fromkeys((45, 46, 47, 48), b"0"),
}
"""Fields of /proc/PID/stat, counted from 0 behind the command's name."""
_ADDRESSES = dict.fromkeys((23, 24, 42, 43, 44), b"0")
"""Those of where the program's code and data begin and end."""

STATM = b"2048 1024 768 256 0 512 0\n"
IO = (
    b"rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n"
    b"cancelled_write_bytes: 0\n"
)
SCHEDSTAT = b"0 0 0\n"
TIMENS_OFFSETS = b"monotonic           0         0\nboottime            0         0\n"
"""No offsets: those of the container's time namespace say how long the host has been up."""
COVER = b"ro,nosuid,nodev,noexec"
"""How the options of a mount begin that covers something in /proc."""

NAMES = frozenset(
    b"buddyinfo bus cgroups cmdline consoles cpuinfo crypto devices diskstats driver "
    b"execdomains filesystems fs interrupts iomem ioports irq kallsyms key-users keys kmsg "
    b"loadavg locks meminfo misc mounts net pagetypeinfo partitions self slabinfo softirqs "
    b"stat swaps sys sysvipc thread-self timer_list tty uptime version vmallocinfo vmstat "
    b"zoneinfo".split()
)
"""What /proc lists besides the processes: what all kernels have that people use.

The others (config.gz, kcore, pressure, scsi, ...) depend on how a kernel was configured.
"""

_WIDTHS = (7, 7, 4, 4, 4, 5, 10, 9, 8, 7, 4, 4, 4, 5, 7, 10)
_NO_PACKETS = b"".join(b" %*d" % (width, 0) for width in _WIDTHS)
"""dev_seq_printf_stats() in net/core/net-procfs.c."""


def net_dev(text: bytes) -> bytes:
    """/proc/PID/net/dev: the same interfaces, with nothing sent or received.

    How many packets carry what was said depends on when each side looked.
    """
    lines = []
    for line in text.splitlines():
        name, colon, _ = line.partition(b":")
        lines.append(name + colon + _NO_PACKETS if colon else line)
    return b"\n".join(lines) + b"\n"


def status(text: bytes, own: bool) -> bytes:
    """/proc/PID/status: constant sizes and counts, one CPU, the lines of Linux 6.1.

    With `own` the process reads it itself, so that it runs, although it waits for us.
    """
    lines = []
    for line in text.splitlines():
        key, colon, _ = line.partition(b":")
        if key in _NEWER:
            continue
        shown = _STATUS.get(key)
        if own and key == b"State":
            shown = b"R (running)"
        lines.append(line if shown is None else key + colon + b"\t" + shown)
    return b"\n".join(lines) + b"\n"


def stat(text: bytes, own: bool, ticks: int, children_ticks: int, outsider: bool = False) -> bytes:
    """/proc/PID/stat: CPU times in clock ticks, nothing of the schedule or of memory.

    An `outsider` runs a program of the host's, at random addresses.
    """
    head, bracket, rest = text.rpartition(b")")
    fields = rest.split()
    for place, value in {**_CONSTANT, **(_ADDRESSES if outsider else {})}.items():
        if place < len(fields):
            fields[place] = value
    if own:
        fields[0] = b"R"
    fields[_UTIME] = b"%d" % ticks
    fields[_CUTIME] = b"%d" % children_ticks
    return head + bracket + b" " + b" ".join(fields) + b"\n"


def mountinfo(text: bytes, minor: Callable[[int], int]) -> bytes:
    """/proc/PID/mountinfo: mounts numbered as listed, no path and no kind of the host's.

    `minor` gives the minor number of the shown st_dev for a mount id of the kernel's.
    """
    numbers: dict[bytes, int] = {}
    hidden: dict[bytes, bytes] = {}
    lines = []
    rows = [line.split(b" ") for line in text.splitlines()]
    shown = []
    for row in rows:
        end = row.index(b"-", 6)
        if _is_cover(row[4], row[end + 1], row[end + 2], row[5]):
            hidden[row[0]] = row[1]
        else:
            numbers[row[0]] = len(numbers) + 1
            shown.append((row, end))
    for row, end in shown:
        kind = _kind(row[end + 1])
        parent = row[1]
        while parent in hidden:
            parent = hidden[parent]
        lines.append(
            b"%d %d 8:%d / %b %b - %b %b %b"
            % (
                numbers[row[0]],
                numbers.get(parent, numbers[row[0]]),
                minor(int(row[0])),
                row[4],
                row[5],
                kind,
                _source(kind, row[end + 2]),
                row[end + 3].split(b",")[0],
            )
        )
    return b"\n".join(lines) + b"\n"


def mounts(text: bytes) -> bytes:
    """/proc/PID/mounts: as mountinfo, in the layout of fstab(5)."""
    lines = []
    for line in text.splitlines():
        source, point, kind, options, *rest = line.split(b" ")
        if _is_cover(point, kind, source, options):
            continue
        kind = _kind(kind)
        kept = [option for option in options.split(b",") if option in _MOUNT_OPTIONS]
        lines.append(
            b" ".join([_source(kind, source), point, kind, b",".join(kept) or b"rw", *rest])
        )
    return b"\n".join(lines) + b"\n"


def mountstats(text: bytes) -> bytes:
    """/proc/PID/mountstats: a line a mount and no counters."""
    lines = []
    for line in text.splitlines():
        words = line.split(b" ")
        if len(words) < 8 or words[0] != b"device" or _is_cover(words[4], words[7], words[1]):
            continue
        kind = _kind(words[7])
        lines.append(
            b"device %b mounted on %b with fstype %b" % (_source(kind, words[1]), words[4], kind)
        )
    return b"\n".join(lines) + b"\n"


_MOUNT_OPTIONS = frozenset(
    b"rw ro nosuid nodev noexec noatime nodiratime relatime nosymfollow".split()
)


def _is_cover(point: bytes, kind: bytes, source: bytes, options: bytes = COVER) -> bool:
    """Whether a mount is one of those that cover what the kernel has in /proc.

    Which there are follows from the host's kernel, and so does the order of some.
    """
    if not point.startswith(b"/proc/"):
        return False
    if kind == b"fuse":
        return source == b"nsbuild"
    return kind in (b"proc", b"tmpfs") and options.startswith(COVER)


def _kind(kind: bytes) -> bytes:
    return DISK if kind in DISKS else kind


def _source(kind: bytes, source: bytes) -> bytes:
    return b"/dev/root" if kind == DISK else source


def maps(text: bytes, number: Callable[[bytes], tuple[int, int]]) -> bytes:
    """/proc/PID/maps: devices and inode numbers as stat shows them.

    `number` gives the minor device number and the inode number of a path; (0, 0) for none.
    """
    known: dict[bytes, tuple[int, int]] = {b"": (0, 0)}
    lines = []
    for line in text.splitlines():
        fields = line.split(None, 5)
        path = fields[5] if len(fields) > 5 else b""
        if path.startswith(b"/") and fields[4] != b"0":
            if path not in known:
                known[path] = number(path)
            minor, inode = known[path]
            shown = b" ".join([*fields[:3], b"08:%05x %d" % (minor, inode)])
        else:
            shown = b" ".join(fields[:5])
        lines.append(b"%b %b" % (shown.ljust(72), path) if path else shown + b" ")
    return b"\n".join(lines) + b"\n"
