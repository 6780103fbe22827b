"""When OpenPGP keys were made: as much of RFC 9580 as that takes.

gpg refuses a key that is younger than its clock. Keyrings come as packets one after another (as apt
has them), the same in ASCII armor, or as a keybox, which is what gpg keeps itself (g10's
kbx/keybox-blob.c describes it).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

_KEYS = frozenset((5, 6, 7, 14))
"""Tags of packets with a key: secret, public, and the subkeys of both."""
# Not compiled here: this is imported by runs that have no use for it.
_ARMOR = rb"(?s)-----BEGIN PGP (?:PUBLIC|PRIVATE) KEY BLOCK-----[^\n]*\n(.*?)-----END PGP"
_TEXT = rb"[A-Za-z0-9+/]+={0,2}"
_KEYBOX, _KEYBOX_KEY = b"KBXf", 2


def key_times(data: bytes) -> list[int]:
    """Creation times of all keys and subkeys in a keyring, seconds since 1970.

    As far as it can be read: what is spoilt ends it.
    """
    if data[8:12] == _KEYBOX:
        blocks = list(_keybox_blocks(data))
    elif armored := re.findall(_ARMOR, data):
        blocks = list(map(_without_armor, armored))
    else:
        blocks = [data]
    return [time for block in blocks for time in _times(block)]


def _without_armor(text: bytes) -> bytes:
    """What the lines between BEGIN and END encode, without headers and checksum."""
    lines = map(bytes.strip, text.splitlines())
    try:
        return binascii.a2b_base64(b"".join(line for line in lines if re.fullmatch(_TEXT, line)))
    except binascii.Error:
        return b""


def _keybox_blocks(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 16 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 16:
            return
        blob = data[at : at + size]
        if blob[4] == _KEYBOX_KEY:
            start, length = (int.from_bytes(blob[i : i + 4], "big") for i in (8, 12))
            yield blob[start : start + length]
        at += size


def _times(data: bytes) -> Iterator[int]:
    for tag, body in _packets(data):
        # Version, then the time, in all versions that there have been.
        if tag in _KEYS and len(body) >= 6 and 2 <= body[0] <= 6:
            yield int.from_bytes(body[1:5], "big")


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet, as far as they are well-formed."""
    at = 0
    while at < len(data) and data[at] & 0x80:
        head = data[at]
        if head & 0x40:
            tag = head & 0x3F
            at, body = _new_body(data, at + 1)
        else:
            tag, kind = head >> 2 & 0xF, head & 3
            width = (1, 2, 4, 0)[kind]
            start = at + 1 + width
            size = int.from_bytes(data[at + 1 : start], "big") if width else len(data)
            at, body = start + size, data[start : start + size]
        yield tag, body


def _new_body(data: bytes, at: int) -> tuple[int, bytes]:
    """Where the next packet begins, and the body of the one whose length is at `at`."""
    body = b""
    while at < len(data):
        first = data[at]
        if first < 192:
            size, at = first, at + 1
        elif first < 224:
            size, at = (
                (first - 192 << 8) + int.from_bytes(data[at + 1 : at + 2], "big") + 192,
                at + 2,
            )
        elif first == 255:
            size, at = int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
        else:
            # A part of the body, with another length behind it.
            size, at = 1 << (first & 0x1F), at + 1
            body += data[at : at + size]
            at += size
            continue
        return at + size, body + data[at : at + size]
    return at, body
