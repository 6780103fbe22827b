"""Headers of tar archives, so that the same files give the same bytes with every Python.

The form is pax (POSIX.1-2008, pax(1), "pax Interchange Format"): a ustar block, and in front of it
records for what does not fit there. Nothing of the machine gets in: no names of users, no process
number. Extended attributes go where GNU tar, bsdtar, Docker and Podman look for them.
"""

from __future__ import annotations

import struct

from nsbuild.tuples import NamedTuple

BLOCK = 512
FILE, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
)
_PAX = b"x"
_USTAR = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_CHECKSUM = 148
_SECOND = 1_000_000_000
XATTR = b"SCHILY.xattr."
END = bytes(2 * BLOCK)


class Entry(NamedTuple):
    """A member of an archive; `time` in nanoseconds, `kind` one of the constants above."""

    path: bytes
    kind: bytes
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    time: int = 0
    target: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


def header(entry: Entry) -> bytes:
    """The blocks in front of the entry's data."""
    records: _Records = []
    prefix, name = _split(entry.path, records)
    target = _fits(entry.target, 100, b"linkpath", records)
    numbers = {
        b"uid": (entry.uid, 8),
        b"gid": (entry.gid, 8),
        b"size": (entry.size, 12),
    }
    fields = {key: _number(key, *value, records) for key, value in numbers.items()}
    seconds, fraction = divmod(entry.time, _SECOND)
    stamp = _octal(seconds, 12) if 0 <= seconds < 8**11 else _octal(0, 12)
    if fraction or not 0 <= seconds < 8**11:
        records.append((b"mtime", _decimal(entry.time)))
    records.extend((XATTR + key, value) for key, value in sorted(entry.xattrs))
    block = _block(
        name,
        entry.mode,
        fields[b"uid"],
        fields[b"gid"],
        fields[b"size"],
        stamp,
        entry.kind,
        target,
        (entry.major, entry.minor),
        prefix,
    )
    return _extended(records) + block


def padding(size: int) -> bytes:
    """What stands behind `size` bytes of data."""
    return bytes(-size % BLOCK)


def _decimal(time: int) -> bytes:
    sign = "-" if time < 0 else ""
    seconds, fraction = divmod(abs(time), _SECOND)
    return f"{sign}{seconds}.{fraction:09}".rstrip("0").rstrip(".").encode()


_Records = list[tuple[bytes, bytes]]


def _split(path: bytes, records: _Records) -> tuple[bytes, bytes]:
    """The two fields of a path; what fits in neither way becomes a record."""
    if len(path) > 100 and path.isascii():
        cut = path.find(b"/", max(0, len(path) - 101))
        if 0 < cut <= 155 and cut < len(path) - 1:
            return path[:cut], path[cut + 1 :]
    return b"", _fits(path, 100, b"path", records)


def _fits(text: bytes, size: int, key: bytes, records: _Records) -> bytes:
    # ustar knows ASCII only; a record is UTF-8.
    if len(text) > size or not text.isascii():
        records.append((key, text))
    return text[:size]


def _number(key: bytes, value: int, size: int, records: _Records) -> bytes:
    if 0 <= value < 8 ** (size - 1):
        return _octal(value, size)
    records.append((key, b"%d" % value))
    return _octal(0, size)


def _octal(value: int, size: int) -> bytes:
    return b"%0*o\0" % (size - 1, value)


def _block(
    name: bytes,
    mode: int,
    uid: bytes,
    gid: bytes,
    size: bytes,
    stamp: bytes,
    kind: bytes,
    target: bytes,
    device: tuple[int, int],
    prefix: bytes,
) -> bytes:
    major, minor = (_octal(number, 8) for number in device)
    fields = (name, _octal(mode, 8), uid, gid, size, stamp, b" " * 8, kind, target)
    block = _USTAR.pack(*fields, b"ustar\0", b"00", b"", b"", major, minor, prefix)
    checksum = b"%06o\0 " % sum(block)
    return block[:_CHECKSUM] + checksum + block[_CHECKSUM + 8 :]


def _extended(records: _Records) -> bytes:
    """The block and the data of the records; nothing without any."""
    if not records:
        return b""
    data = b"".join(_record(key, value) for key, value in records)
    head = _block(
        b"././@PaxHeader",
        0o644,
        *(_octal(0, 8),) * 2,
        _octal(len(data), 12),
        _octal(0, 12),
        _PAX,
        b"",
        (0, 0),
        b"",
    )
    return head + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """LENGTH KEY=VALUE, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
