"""Texts of /proc/PID: what is replaced, and that everything else stays."""

from __future__ import annotations

from nsbuild.determinism import proctext

STATUS = b"Name:\ta\nState:\tS (sleeping)\nVmRSS:\t    1 kB\nThreads:\t1\nCpus_allowed_list:\t3\n"


def test_status() -> None:
    shown = proctext.status(STATUS, own=True).splitlines()
    assert shown == [
        b"Name:\ta",
        b"State:\tR (running)",
        b"VmRSS:\t    4096 kB",
        b"Threads:\t1",
        b"Cpus_allowed_list:\t0",
    ]
    assert proctext.status(STATUS, own=False).splitlines()[1] == b"State:\tS (sleeping)"


def test_stat_keeps_who_the_process_is() -> None:
    """A command's name may hold anything, brackets too."""
    numbers = b" ".join(b"%d" % (1000 + place) for place in range(4, 53))
    text = b"7 (a) b) c) S " + numbers + b"\n"
    head, _, rest = proctext.stat(text, True, 12, 34).rpartition(b") ")
    fields = rest.split()
    assert head == b"7 (a) b) c"
    assert fields[0] == b"R"
    assert fields[1:4] == [b"1004", b"1005", b"1006"]
    assert (fields[11], fields[13]) == (b"12", b"34")
    assert (fields[19], fields[36]) == (b"0", b"0")
    assert len(fields) == 50


MOUNTINFO = (
    b"512 400 0:51 / / rw,relatime shared:3 - overlay overlay rw,lowerdir=/host\n"
    b"530 512 254:1 /home/me/x /tmp/a\\040b rw,nosuid master:1 - ext4 /dev/vda rw,discard\n"
    b"531 512 0:5 / /proc rw - proc proc rw\n"
)


def test_mountinfo_has_nothing_of_the_hosts() -> None:
    assert proctext.mountinfo(MOUNTINFO, lambda number: number * 2).splitlines() == [
        b"1 1 8:1024 / / rw,relatime - ext4 /dev/root rw",
        b"2 1 8:1060 / /tmp/a\\040b rw,nosuid - ext4 /dev/root rw",
        b"3 1 8:1062 / /proc rw - proc proc rw",
    ]


COVERED = (
    b"10 1 0:20 / / rw - ext4 /dev/vda rw\n"
    b"11 10 0:21 / /proc rw - proc proc rw\n"
    b"12 11 0:22 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw\n"
    b"13 12 0:21 /sys/kernel/x /proc/sys/kernel/x ro,nosuid,nodev,noexec - proc proc rw\n"
    b"14 12 0:23 / /proc/sys/kernel/random/uuid ro - fuse nsbuild rw\n"
    b"15 12 0:24 / /proc/sys/fs/binfmt_misc rw - binfmt_misc binfmt_misc rw\n"
    b"16 10 0:25 / /home/proc/x rw - tmpfs tmpfs rw\n"
)


def test_what_covers_proc_is_no_mount() -> None:
    """Which mounts there are follows from the host's kernel; what somebody mounts on them stays."""
    shown = proctext.mountinfo(COVERED, lambda number: number)
    assert [line.split()[:2] + line.split()[4:5] for line in shown.splitlines()] == [
        [b"1", b"1", b"/"],
        [b"2", b"1", b"/proc"],
        [b"3", b"2", b"/proc/sys/fs/binfmt_misc"],
        [b"4", b"1", b"/home/proc/x"],
    ]
    points = [b"/", b"/proc", b"/proc/sys/fs/binfmt_misc", b"/home/proc/x"]
    rows = [line.split() for line in COVERED.splitlines()]
    text = b"".join(b"%b %b %b %b 0 0\n" % (r[8], r[4], r[7], r[5]) for r in rows)
    assert [line.split()[1] for line in proctext.mounts(text).splitlines()] == points
    text = b"".join(b"device %b mounted on %b with fstype %b\n" % (r[8], r[4], r[7]) for r in rows)
    assert [line.split()[4] for line in proctext.mountstats(text).splitlines()] == points


def test_mounts() -> None:
    text = b"/dev/vda / xfs rw,relatime,attr2,inode64 0 0\nproc /proc proc rw 0 0\n"
    assert proctext.mounts(text) == (b"/dev/root / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n")


def test_mountstats() -> None:
    text = (
        b"device /dev/vda mounted on / with fstype ext4\n"
        b"device host:/x mounted on /mnt with fstype nfs4 statvers=1.1\n\tage: 12\n"
    )
    assert proctext.mountstats(text).splitlines() == [
        b"device /dev/root mounted on / with fstype ext4",
        b"device host:/x mounted on /mnt with fstype nfs4",
    ]


def test_maps_are_numbered_as_stat_shows_the_files() -> None:
    text = (
        b"1000-2000 r-xp 00000000 fe:01 1234                       /usr/bin/a b\n"
        b"3000-4000 rw-p 00000000 00:00 0 \n"
        b"5000-6000 rw-p 00000000 00:00 0                          [stack]\n"
    )
    shown = proctext.maps(text, lambda path: (16, len(path))).splitlines()
    assert [line.split(None, 5)[3:] for line in shown] == [
        [b"08:00010", b"12", b"/usr/bin/a b"],
        [b"00:00", b"0"],
        [b"00:00", b"0", b"[stack]"],
    ]


def test_counters_of_interfaces_are_nothing() -> None:
    """In the kernel's own columns, so that who cuts by them finds what it looks for."""
    head = b"Inter-|   Receive\n face |bytes    packets\n"
    quiet = b"    lo:       0       0    0    0    0     0          0         0        0       0"
    quiet += b"    0    0    0     0       0          0\n"
    busy = b"  eth0: 400809416   19449    0    0    0     0          0         0 400809416   19449"
    busy += b"    0    0    0     0       0          0\n"
    assert proctext.net_dev(head + quiet) == head + quiet
    assert proctext.net_dev(head + busy) == head + quiet.replace(b"  lo", b"eth0")
