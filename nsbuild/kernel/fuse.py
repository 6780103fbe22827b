"""The FUSE protocol, raw: opening /dev/fuse, the mount call, and the messages of linux/fuse.h.

Only what a file system of one regular file needs, which has no directory, no link and no cache.
Structs are named as in the header, and padding that carries nothing is skipped; the header promises
64-bit alignment and the machine's own byte order, so the layouts are those of every architecture.
The ioctls of linux/random.h are here too, since such a file stands in for the device that has them.
See fuse(4) and Documentation/filesystems/fuse/ in the kernel's tree.
"""

from __future__ import annotations

import os
import struct

from nsbuild.kernel.mount import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount

FUSE_KERNEL_VERSION = 7
FUSE_MIN_READ_BUFFER = 8192
FUSE_ROOT_ID = 1

MAX_READ = 1 << 16
"""Bytes above which mount_fuse_file lets the kernel split a read into several requests."""

# enum fuse_opcode
FUSE_FORGET = 2
FUSE_GETATTR = 3
FUSE_SETATTR = 4
FUSE_OPEN = 14
FUSE_READ = 15
FUSE_WRITE = 16
FUSE_STATFS = 17
FUSE_RELEASE = 18
FUSE_FSYNC = 20
FUSE_GETXATTR = 22
FUSE_FLUSH = 25
FUSE_INIT = 26
FUSE_ACCESS = 34
FUSE_INTERRUPT = 36
FUSE_DESTROY = 38
FUSE_IOCTL = 39
FUSE_POLL = 40
FUSE_NOTIFY_REPLY = 41
FUSE_BATCH_FORGET = 42
FUSE_FALLOCATE = 43
FUSE_LSEEK = 46

# fuse_init_out.flags
FUSE_ATOMIC_O_TRUNC = 1 << 3
FUSE_BIG_WRITES = 1 << 5
FUSE_MAX_PAGES = 1 << 22

# fuse_open_out.open_flags
FOPEN_DIRECT_IO = 1 << 0
FOPEN_NOFLUSH = 1 << 5
"""No question to the server when a descriptor is closed (Linux 5.16)."""

# fuse_setattr_in.valid
FATTR_SIZE = 1 << 3

# ioctls of linux/random.h, see random(4)
RNDGETENTCNT = 0x80045200
RNDADDTOENTCNT = 0x40045201
RNDADDENTROPY = 0x40085203
RNDZAPENTCNT = 0x5204
RNDCLEARPOOL = 0x5206
RNDRESEEDCRNG = 0x5207

FUSE_IN_HEADER = struct.Struct("=IIQQIIIHH")
"""len, opcode, unique, nodeid, uid, gid, pid, total_extlen, padding."""
FUSE_OUT_HEADER = struct.Struct("=IiQ")
"""len (of header and body), error (a negative errno), unique."""
READ_REQUEST = struct.Struct("=4xIQ16xI12xQI")
"""fuse_in_header and then fuse_read_in in one go: opcode, unique, pid, offset, size.

A fuse_write_in begins like a fuse_read_in. For other requests the last two mean nothing.
"""

FUSE_INIT_IN = struct.Struct("=4I")
"""major, minor, max_readahead, flags; longer since 7.36, with nothing that we use."""
FUSE_INIT_OUT = struct.Struct("=4I2H2I2H32x")
"""major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran,
max_pages, map_alignment; 64 bytes since 7.23."""
FUSE_ATTR_OUT = struct.Struct("=QI4x6Q10I")
"""attr_valid (seconds), attr_valid_nsec, then fuse_attr: ino, size, blocks, atime, mtime, ctime,
atimensec, mtimensec, ctimensec, mode, nlink, uid, gid, rdev, blksize, flags."""
FUSE_OPEN_IN = struct.Struct("=II")
"""flags (of open(2)), open_flags."""
FUSE_OPEN_OUT = struct.Struct("=QI4x")
"""fh, open_flags."""
FUSE_SETATTR_IN = struct.Struct("=I4x")
"""valid; the new values follow."""
FUSE_WRITE_IN = struct.Struct("=QQI20x")
"""fh, offset, size; the data follows."""
FUSE_WRITE_OUT = struct.Struct("=I4x")
"""size."""
FUSE_STATFS_OUT = struct.Struct("=5Q3I28x")
"""blocks, bfree, bavail, files, ffree, bsize, namelen, frsize."""
FUSE_LSEEK_OUT = struct.Struct("=Q")
"""offset."""
FUSE_IOCTL_IN = struct.Struct("=QIIQII")
"""fh, flags, cmd, arg, in_size, out_size; in_size bytes of data follow."""
FUSE_IOCTL_OUT = struct.Struct("=iIII")
"""result, flags, in_iovs, out_iovs; up to out_size bytes of data follow."""


def open_fuse(path: str = "/dev/fuse") -> int:
    """Open the FUSE device `path`, non-blocking; raises OSError.

    To be called in the user namespace that will own the mount: mount(2) gives EINVAL for a
    descriptor that was opened in another one. Until it is mounted it polls as EPOLLERR and a read
    of it gives EPERM.
    """
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def mount_fuse_file(fd: int, target: str, mode: int) -> None:
    """Mount on the file `target` a FUSE file system whose root is a regular file; raises OSError.

    `fd` comes from open_fuse, `mode` is a st_mode (0100666). Whoever mounts lends its PID namespace
    to the pids in the requests. The call does not wait for the server, so the first request
    (FUSE_INIT) may be answered later; until then a user of the file sleeps, and only SIGKILL wakes
    it.

    `allow_other` opens the file to every user of the user namespace and of those below it; others,
    root of the machine too, get EACCES. `default_permissions` lets the kernel check `mode`.
    """
    options = (
        f"fd={fd},rootmode={mode:o},user_id=0,group_id=0"
        f",allow_other,default_permissions,max_read={MAX_READ}"
    )
    mount("nsbuild", target, "fuse", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
