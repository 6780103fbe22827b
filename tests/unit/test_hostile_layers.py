"""Layers that want to reach out, fill the disk or lie are refused; nothing outside is touched."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import random
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsbuild.errors import NsbuildError
from nsbuild.images import streams, tarheader
from nsbuild.images.documents import Layer
from nsbuild.images.tarheader import Entry
from nsbuild.images.trees import unpack_layer

FILE, LINK, SYMLINK = tarheader.FILE, tarheader.LINK, tarheader.SYMLINK
DIRECTORY, CHARACTER = tarheader.DIRECTORY, tarheader.CHARACTER


def archive(*entries: Entry | tuple[Entry, bytes]) -> bytes:
    """A tar of entries, which may have data."""
    out = b""
    for one in entries:
        entry, data = (one, b"") if isinstance(one, Entry) else one
        entry = entry._replace(size=entry.size or len(data))
        out += tarheader.header(entry) + data + tarheader.padding(len(data))
    return out + tarheader.END


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def try_out(tmp_path: Path, data: bytes, plain: bytes | None = None, lie: str = "") -> Path:
    """Unpack a layer beside files that must not change; the tree."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("before")
    (tmp_path / "blob").write_bytes(data)
    layer = Layer(digest(data if plain is None else plain), digest(data), len(data))
    if lie:
        layer = Layer(layer.diff_id, NOTHING, layer.size)
        if lie == "diff_id":
            layer = Layer(NOTHING, digest(data), layer.size)
    made = tmp_path / "made"
    try:
        unpack_layer(str(tmp_path / "blob"), layer, str(made))
    finally:
        assert (outside / "file").read_text() == "before"
        assert os.listdir(outside) == ["file"]
        assert sorted(set(os.listdir(tmp_path)) - {"made"}) == ["blob", "outside"]
    return made / "tree"


NOTHING = "sha256:" + "0" * 64
OUT = Entry(b"link", SYMLINK, 0o777, target=b"../../outside")
TEXT = b"after"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (archive((Entry(b"../outside/file", FILE, 0o644), TEXT)), "leads out of it"),
        (archive((Entry(b"a/../../../outside/file", FILE, 0o644), TEXT)), "leads out of it"),
        (archive(Entry(b"..", DIRECTORY, 0o777)), "leads out of it"),
        (archive(OUT, (Entry(b"link/file", FILE, 0o644), TEXT)), "is no directory"),
        (archive(OUT, Entry(b"link/", DIRECTORY, 0o777)), "is no directory"),
        (archive(OUT, Entry(b"link/new/", DIRECTORY, 0o777)), "is no directory"),
        (archive(OUT, Entry(b"link/.wh.file", FILE, 0)), "is no directory"),
        (archive(OUT, Entry(b"link/.wh..wh..opq", FILE, 0)), "is no directory"),
        (archive(OUT, (Entry(b"link", FILE, 0o644), TEXT)), "comes twice"),
        (archive(OUT, Entry(b"x", LINK, 0, target=b"link/file")), "is no directory"),
        (
            archive(Entry(b"d/", DIRECTORY, 0o755), OUT._replace(path=b"d")),
            "comes twice",
        ),
        (
            archive((Entry(b"f", FILE, 0o644), b"1"), (Entry(b"./f", FILE, 0o644), b"2")),
            "comes twice",
        ),
        (archive(Entry(b"x", LINK, 0, target=b"../outside/file")), "leads out of it"),
        (archive(Entry(b"x", LINK, 0, target=b"/etc/passwd")), "no file of this layer"),
        (archive(Entry(b"x", LINK, 0, target=b"nothing")), "no file of this layer"),
        (archive(Entry(b"x", LINK, 0, target=b"/")), "hard link to the top"),
        (archive(Entry(b".wh...", FILE, 0)), "hides what has no name"),
        (archive(Entry(b".wh.", FILE, 0)), "hides what has no name"),
        (archive(Entry(b"x", CHARACTER, 0o666, major=0, minor=0)), "device 0:0"),
        (archive(Entry(b"x", b"9", 0o666)), "unknown type"),
        (archive(Entry(b"./", FILE, 0o644)), "is the top and no directory"),
        (archive(Entry(b"d/" * 500, DIRECTORY, 0o755)), "lies too deep"),
        (archive(Entry(b"x", FILE, 0o644, size=1 << 60)), "unexpected end of data"),
        (archive(Entry(b"x", FILE, 0o644, uid=(1 << 32) - 1)), "cannot be"),
        (archive(Entry(b"x", FILE, 0o644, uid=-1)), "cannot be"),
        (archive(Entry(b"n" * 300, FILE, 0o644)), "File name too long"),
        (archive(Entry(b"x", SYMLINK, 0o777, target=b"t" * 5000)), "File name too long"),
        (b"x" * 2048, "damaged"),
        (b"", "damaged"),
        (archive(Entry(b"x", FILE, 0o644))[:512] + b"y" * 1024, "not an archive to its end"),
        (archive(Entry(b"x", FILE, 0o644)) + b"more", "not an archive to its end"),
        (gzip.compress(archive(Entry(b"x", FILE, 0o644)))[:-20], "damaged"),
        (b"\x1f\x8b\x08" + b"\0" * 50, "damaged"),
        (b"BZh9" + b"\0" * 50, "damaged"),
        (b"\xfd7zXZ\0" + b"\0" * 50, "damaged"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "damaged"),
    ],
)
def test_what_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(NsbuildError) as caught:
        try_out(tmp_path, data)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_that_point_out_are_as_good_as_any(tmp_path: Path) -> None:
    """Every distribution has absolute ones; nobody follows them before there is a root."""
    absolute = Entry(b"absolute", SYMLINK, 0o777, target=str(tmp_path / "outside").encode())
    tree = try_out(tmp_path, archive(OUT, absolute))
    assert os.readlink(tree / "link") == "../../outside"


def test_a_name_in_front_of_which_a_slash_stands_is_inside(tmp_path: Path) -> None:
    name = str(tmp_path / "outside/file").encode()
    tree = try_out(tmp_path, archive((Entry(name, FILE, 0o644), TEXT)))
    assert (tree / os.fsdecode(name[1:])).read_bytes() == TEXT


def test_attributes_of_overlayfs_are_left_out(tmp_path: Path) -> None:
    xattrs = ((b"user.overlay.redirect", b"/etc"), (b"trusted.overlay.opaque", b"y"))
    tree = try_out(tmp_path, archive(Entry(b"d/", DIRECTORY, 0o755, xattrs=xattrs)))
    assert os.listxattr(tree / "d") == []


@pytest.mark.parametrize("which", ["digest", "diff_id"])
def test_other_bytes_than_were_promised(tmp_path: Path, which: str) -> None:
    data = archive((Entry(b"f", FILE, 0o644), TEXT))
    with pytest.raises(NsbuildError, match="it should be sha256:0000"):
        try_out(tmp_path, data, lie=which)


def test_another_size_than_was_promised(tmp_path: Path) -> None:
    data = archive((Entry(b"f", FILE, 0o644), TEXT))
    (tmp_path / "blob").write_bytes(data)
    layer = Layer(digest(data), digest(data), len(data) - 1)
    with pytest.raises(NsbuildError, match="bytes and not"):
        unpack_layer(str(tmp_path / "blob"), layer, str(tmp_path / "made"))


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: data])
def test_packed_or_not(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = archive((Entry(b"f", FILE, 0o644), TEXT))
    assert (try_out(tmp_path, pack(data), data) / "f").read_bytes() == TEXT


def test_packed_by_zstd(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    data = archive((Entry(b"f", FILE, 0o644), TEXT))
    packed = zstandard.ZstdCompressor().compress(data)
    assert (try_out(tmp_path, packed, data) / "f").read_bytes() == TEXT


def test_a_small_file_that_grows_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FREE", 1 << 20)
    data = archive((Entry(b"zeros", FILE, 0o644), bytes(64 << 20)))
    with pytest.raises(NsbuildError, match="unpacks to more than"):
        try_out(tmp_path, gzip.compress(data), data)
    assert (tmp_path / "made/tree/zeros").stat().st_size < 32 << 20


def sparse(size: int) -> bytes:
    """A GNU sparse file (format 1.0) of one hole."""
    table = f"1\n{size}\n0\n".encode()
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole"}
    member = tarfile.TarInfo("./GNUSparseFile.0/hole")
    member.size = 512
    member.pax_headers = {**records, "GNU.sparse.realsize": str(size)}
    return member.tobuf(tarfile.PAX_FORMAT) + table.ljust(512, b"\0") + tarheader.END


def test_a_hole_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE", 1 << 20)
    with pytest.raises(NsbuildError, match="unpacks to more than"):
        try_out(tmp_path, sparse(1 << 40))


def test_a_hole(tmp_path: Path) -> None:
    assert (try_out(tmp_path, sparse(100_000)) / "hole").read_bytes() == bytes(100_000)


def test_a_table_of_holes_without_end(tmp_path: Path) -> None:
    data = sparse(1 << 40).replace(b"1\n1099511627776\n0\n", b"99999999999999999")
    with pytest.raises(NsbuildError):
        try_out(tmp_path, data)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_of_gigabytes_is_not_read(tmp_path: Path, kind: bytes) -> None:
    head = Entry(b"x", kind, 0o644, size=7 << 30)
    with pytest.raises(NsbuildError, match="is not read"):
        try_out(tmp_path, tarheader.header(head) + bytes(4096))


def test_sizes_below_nothing(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.pax_headers = {"size": "-512"}
    data = member.tobuf(tarfile.PAX_FORMAT) + tarheader.END
    with pytest.raises(NsbuildError):
        try_out(tmp_path, data)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 1 << 32), st.integers(1, 40))
def test_any_damage_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    """Bytes of an archive are changed, and its digests with them."""
    chance = random.Random(seed)
    plain = bytearray(
        archive(
            Entry(b"d/", DIRECTORY, 0o755, time=1),
            (Entry(b"d/f", FILE, 0o644, xattrs=((b"user.a", b"b"),)), TEXT * 300),
            Entry(b"l", SYMLINK, 0o777, target=b"d"),
            Entry(b"h", LINK, 0o644, target=b"d/f"),
        )
    )
    for _ in range(count):
        plain[chance.randrange(len(plain))] = chance.randrange(256)
    # Headers are believed only if their sums are right, so make them right.
    for place in range(0, len(plain) - 511, 512):
        block = plain[place : place + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            plain[place + 148 : place + 156] = b"%06o\0 " % sum(struct.unpack("512B", block))
    try:
        try_out(tmp_path_factory.mktemp("damage"), bytes(plain))
    except NsbuildError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it may also be accepted


def test_a_device_is_made_by_root_or_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = archive(Entry(b"null", CHARACTER, 0o666, major=1, minor=3))
    tree = try_out(tmp_path, data)
    if (tree / "null").exists():
        assert (tree / "null").lstat().st_rdev == os.makedev(1, 3)
    else:
        assert ": 1 device(s)" in capsys.readouterr().err


def test_nothing_is_read_twice() -> None:
    data = archive((Entry(b"f", FILE, 0o644), TEXT))
    with streams.LayerStream(io.BytesIO(data), len(data), "layer") as stream:
        stream.read(1024)
        with pytest.raises(NsbuildError, match="leads back"):
            stream.seek(0)


def test_owners_that_have_no_number_here_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for an ordinary user without ranges in subuid(5)."""

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(NsbuildError, match=r"owner 42:43 may have no number here.*subuid"):
        try_out(tmp_path, archive(Entry(b"x", FILE, 0o644, uid=42, gid=43)))
