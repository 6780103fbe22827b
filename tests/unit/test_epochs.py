"""Which clock a root needs: keyrings, Release files and changelogs, read as gpg and apt do."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.container import early
from nsbuild.container.epochs import Dated, Tree, changelogs, iso, keys, newest_of_each, releases
from nsbuild.container.openpgp import key_times
from nsbuild.errors import NsbuildError
from tests.system.capabilities import needs_tools

TIMES = st.integers(0, (1 << 32) - 1)
MADE = 1_600_000_000


def old_packet(tag: int, body: bytes, width: int) -> bytes:
    """RFC 9580, 4.2.2; `width` octets of length, 0 for a body of unknown length."""
    head = 0x80 | tag << 2 | {1: 0, 2: 1, 4: 2, 0: 3}[width]
    return bytes([head]) + (len(body).to_bytes(width, "big") if width else b"") + body


def new_packet(tag: int, body: bytes, part: int = -1) -> bytes:
    """RFC 9580, 4.2.1; with `part`, the first 2**part octets come by themselves."""
    head = bytes([0xC0 | tag])
    if part >= 0:
        first, body = body[: 1 << part], body[1 << part :]
        head += bytes([224 + part]) + first
    size = len(body)
    if size < 192:
        return head + bytes([size]) + body
    if size < 8384:
        return head + bytes([(size - 192 >> 8) + 192, size - 192 & 0xFF]) + body
    return head + b"\xff" + size.to_bytes(4, "big") + body


def key_body(time: int, version: int = 4, size: int = 30) -> bytes:
    return bytes([version]) + time.to_bytes(4, "big") + b"\1" + b"k" * size


@st.composite
def packets(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """A keyring and the times in it, among other packets."""
    data, times = b"", []
    for _ in range(draw(st.integers(0, 6))):
        tag = draw(st.sampled_from([2, 5, 6, 7, 13, 14, 17]))
        size = draw(st.sampled_from([0, 20, 185, 186, 250, 8377, 8378, 70_000]))
        if tag in (5, 6, 7, 14):
            times.append(draw(TIMES))
            body = key_body(times[-1], draw(st.integers(3, 6)), size)
        else:
            body = key_body(12345, 4, size)
        shape = draw(st.sampled_from(["old", "new", "parts"]))
        if shape == "old" and tag < 16:
            data += old_packet(tag, body, 4 if len(body) > 0xFFFF else 2)
        else:
            data += new_packet(tag, body, 2 if shape == "parts" else -1)
    return data, times


def armored(data: bytes) -> bytes:
    lines = base64.encodebytes(data)
    return (
        b"A key:\n-----BEGIN PGP PUBLIC KEY BLOCK-----\r\nVersion: 1\nComment: made up\n\n"
        + lines
        + b"=aBcD\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


def keybox(*blocks: bytes) -> bytes:
    first = (32).to_bytes(4, "big") + b"\1\1\0\2KBXf" + b"\0" * 20
    blobs = [
        (40 + len(block)).to_bytes(4, "big")
        + b"\2\1\0\0"
        + (40).to_bytes(4, "big")
        + len(block).to_bytes(4, "big")
        + b"\0" * 24
        + block
        for block in blocks
    ]
    return first + b"".join(blobs)


@given(packets())
def test_all_keys_are_found_in_every_shape(ring: tuple[bytes, list[int]]) -> None:
    data, times = ring
    assert key_times(data) == times
    assert key_times(armored(data)) == times
    assert key_times(armored(data) + b"\n" + armored(data)) == times * 2
    assert key_times(keybox(data, data)) == times * 2


def test_short_and_endless_packets() -> None:
    assert key_times(old_packet(6, key_body(MADE), 1)) == [MADE]
    assert key_times(old_packet(6, key_body(MADE), 0)) == [MADE]


@given(st.binary(max_size=300), st.booleans())
def test_nonsense_is_no_error(data: bytes, as_keybox: bool) -> None:
    for text in (data, keybox(data)[: len(data) + 50] if as_keybox else armored(data)):
        assert all(0 <= time < 1 << 32 for time in key_times(text))


@given(packets(), st.integers(0, 400))
def test_a_keyring_that_is_cut_off_has_its_first_keys(
    ring: tuple[bytes, list[int]], size: int
) -> None:
    data, times = ring
    found = key_times(data[:size])
    assert found == times[: len(found)]


def test_what_gpg_makes(tmp_path: Path) -> None:
    """Its own keybox, an export, and an armored one, of a key and a younger subkey."""
    needs_tools("gpg")
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode=loopback"]

    def run(time: int, *words: str) -> bytes:
        command = [*gpg, f"--faked-system-time={time}!", *words]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout

    run(MADE, "--quick-gen-key", "nobody", "ed25519", "sign", "never")
    listed = run(MADE, "--list-keys", "--with-colons").decode()
    print_of_it = next(line for line in listed.splitlines() if line.startswith("fpr")).split(":")[9]
    run(MADE + 7, "--quick-add-key", print_of_it, "cv25519", "encr", "never")
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, timeout=60)
    times = [MADE, MADE + 7]
    assert key_times((home / "pubring.kbx").read_bytes()) == times
    assert key_times(run(MADE + 9, "--export")) == times
    assert key_times(run(MADE + 9, "--export", "--armor")) == times


@given(st.integers(0, 253_402_300_799))
def test_iso_is_what_datetime_says(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert iso(seconds) == moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def tree(top: Path, files: dict[str, bytes]) -> Tree:
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return Tree(str(top))


LISTS = "var/lib/apt/lists"


def release(date: str) -> bytes:
    return f"Origin: O\nSuite: s\nDate: {date}\nValid-Until: {date}\nSHA256:\n ab 1 f\n".encode()


@pytest.mark.parametrize("zone", ["UTC", "GMT", "+0000", "-0330", "+1400"])
@pytest.mark.parametrize("seconds", [0, 951_782_400, 1_783_761_153, 4_107_542_400])
def test_dates_of_release_files(tmp_path: Path, seconds: int, zone: str) -> None:
    offset = UTC
    if zone[0] in "+-":
        minutes = int(zone[1:3]) * 60 + int(zone[3:])
        offset = timezone(timedelta(minutes=minutes if zone[0] == "+" else -minutes))
    text = format_datetime(datetime.fromtimestamp(seconds, offset)).rpartition(" ")[0]
    signed = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + release(f"{text} {zone}")
    name = "h_dists_s_InRelease"
    root = tree(tmp_path, {f"{LISTS}/{name}": signed})
    assert list(releases(root, LISTS)) == [Dated(seconds, f"{LISTS}/{name}", "Release file")]


def test_the_newest_of_each_kind(tmp_path: Path) -> None:
    changes = (
        b"p (2) s; urgency=low\n\n  * No.\n\n -- A B <a@b>  Sat, 13 Sep 2025 12:26:40 +0000\n\n"
    )
    older = b"p (1) s; urgency=low\n\n -- A B <a@b>  Mon, 01 Jan 2029 00:00:00 +0000\n"
    root = tree(
        tmp_path,
        {
            f"{LISTS}/a_Release": release("Thu, 01 Jan 2026 00:00:00 UTC"),
            f"{LISTS}/b_InRelease": release("Fri, 02 Jan 2026 00:00:00 UTC"),
            f"{LISTS}/c_Packages": release("Sat, 03 Jan 2026 00:00:00 UTC"),
            f"{LISTS}/d_Release": b"Date: some day\n",
            f"{LISTS}/partial/e_InRelease": release("Sun, 04 Jan 2026 00:00:00 UTC"),
            "etc/apt/trusted.gpg.d/a.gpg": new_packet(6, key_body(MADE)),
            "etc/apt/trusted.gpg.d/b.asc": armored(new_packet(14, key_body(MADE + 1))),
            "etc/apt/trusted.gpg.d/README": new_packet(6, key_body(MADE + 5)),
            "etc/apt/trusted.gpg": keybox(new_packet(6, key_body(MADE + 2))),
            "usr/share/keyrings/c.gpg": new_packet(6, key_body(MADE)),
            "etc/pki/rpm-gpg/RPM-GPG-KEY-x": armored(new_packet(6, key_body(MADE))),
            "usr/share/doc/p/changelog.Debian.gz": gzip.compress(changes + older),
            "usr/share/doc/q/changelog.gz": gzip.compress(b"2027-01-01 upstream's own\n"),
            "usr/share/doc/r/changelog.Debian.gz": b"spoilt",
        },
    )
    assert newest_of_each(root) == [
        Dated(1_767_312_000, f"{LISTS}/b_InRelease", "Release file"),
        Dated(1_757_766_400, "usr/share/doc/p/changelog.Debian.gz", "changelog"),
        Dated(MADE + 2, "etc/apt/trusted.gpg", "key"),
    ]
    assert root.unreadable == []


def test_a_long_changelog(tmp_path: Path) -> None:
    text = b"p (2) s; urgency=low\n\n -- A <a@b>  Sat, 13 Sep 2025 12:26:40 +0200\n" + os.urandom(
        1 << 20
    )
    root = tree(tmp_path, {"usr/share/doc/p/changelog.gz": gzip.compress(text)})
    assert [found.seconds for found in changelogs(root)] == [1_757_759_200]


def test_links_lead_inside(tmp_path: Path) -> None:
    """As chroot would see them; one that leads out leads to nothing."""
    outside = tmp_path / "outside.gpg"
    outside.write_bytes(new_packet(6, key_body(MADE + 100)))
    top = tmp_path / "root"
    root = tree(top, {"keys/in.gpg": new_packet(6, key_body(MADE))})
    (top / "usr/share").mkdir(parents=True)
    (top / "usr/share/keyrings").symlink_to("/keys")
    (top / "keys/out.gpg").symlink_to(outside)
    (top / "keys/again.gpg").symlink_to("/keys/in.gpg")
    os.mkfifo(top / "keys/pipe.gpg")
    names = [found.path.rpartition("/")[2] for found in keys(root, "usr/share/keyrings")]
    assert names == ["again.gpg", "in.gpg"]
    direct = Tree(str(top), follow=False)
    names = [found.path.rpartition("/")[2] for found in keys(direct, "usr/share/keyrings")]
    assert names == ["in.gpg"]


def test_a_root_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(NsbuildError, match="No such file or directory"):
        Tree(str(tmp_path / "missing"))
    (tmp_path / "file").write_text("")
    with pytest.raises(NsbuildError, match="Not a directory"):
        Tree(str(tmp_path / "file"))
    assert newest_of_each(Tree(str(tmp_path))) == []


def test_no_hint_without_apt_or_gpg(tmp_path: Path) -> None:
    written = [b"/build/a.o", b"/root/.cache/x", os.fsencode(tmp_path / "random_seedling")]
    assert early.hint(written, 0) is None


def test_hints(tmp_path: Path) -> None:
    base = str(tmp_path)
    lists = f"{base}/var/lib/apt/lists"
    now = 1_700_000_000 * 10**9
    tree(tmp_path, {"home/pubring.kbx": keybox(new_packet(6, key_body(1_700_000_001)))})
    tree(tmp_path, {"empty/pubring.kbx": keybox()})
    tree(
        tmp_path,
        {"var/lib/apt/lists/partial/x_InRelease": release("Thu, 01 Jan 2099 00:00:00 UTC")},
    )
    said = early.hint([os.fsencode(f"{lists}/lock")], now)
    assert said is not None
    assert "ended at 2023-11-14T22:13:20Z" in said
    assert f"Release file {lists}/partial/x_InRelease of 2099-01-01T00:00:00Z" in said
    assert "--epoch=4070908800 or later" in said
    seed = os.fsencode(f"{base}/home/random_seed")
    said = early.hint([seed], now)
    assert said is not None
    assert "--epoch=1700000001 or later" in said
    assert early.hint([seed], now + 10**9) is None
    said = early.hint([os.fsencode(f"{base}/empty/random_seed")], now)
    assert said is not None
    assert f"gpg has no key in {base}/empty" in said
