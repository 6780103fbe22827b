"""Layers: what is written is read, is the same every time, and other programs read it as well."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsbuild.errors import NsbuildError
from nsbuild.images import tarheader
from nsbuild.images.layertar import write_layer
from nsbuild.images.streams import LayerStream
from nsbuild.images.tarheader import Entry
from nsbuild.images.unpack import Notes, unpack
from nsbuild.kernel.asroot import as_root
from tests.system.capabilities import needs

PATHS = st.lists(
    st.binary(min_size=1, max_size=120).filter(lambda part: not {0, ord("/")} & set(part)),
    min_size=1,
    max_size=4,
).map(b"/".join)
NUMBERS = st.one_of(st.integers(0, 0o7777777), st.integers(0, (1 << 32) - 2))


@given(
    PATHS,
    st.sampled_from([tarheader.FILE, tarheader.SYMLINK, tarheader.LINK, tarheader.FIFO]),
    st.integers(0, 0o7777),
    NUMBERS,
    NUMBERS,
    st.integers(0, 1 << 40),
    st.integers(-(10**18), 10**20),
    PATHS,
    st.dictionaries(st.sampled_from([b"user.a", b"security.capability"]), st.binary(max_size=40)),
)
def test_headers_are_read_by_tarfile(
    path: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    time: int,
    target: bytes,
    xattrs: dict[bytes, bytes],
) -> None:
    linked = target if kind in (tarheader.LINK, tarheader.SYMLINK) else b""
    size = size if kind == tarheader.FILE else 0
    entry = Entry(path, kind, mode, uid, gid, size, time, linked, xattrs=tuple(xattrs.items()))
    data = tarheader.header(entry)
    assert len(data) % tarheader.BLOCK == 0
    with tarfile.TarFile(fileobj=io.BytesIO(data + tarheader.END), encoding="utf-8") as archive:
        member = archive.next()
    assert member is not None
    read = Entry(
        os.fsencode(member.name),
        member.type,
        member.mode,
        member.uid,
        member.gid,
        member.size,
        time,
        os.fsencode(member.linkname),
    )
    # tarfile takes slashes off the end of names.
    assert read == entry._replace(path=path.rstrip(b"/"), xattrs=())
    assert abs(member.mtime - time / 1e9) < 1e-3 * max(1, abs(time) / 1e12)
    for key, value in xattrs.items():
        shown = member.pax_headers[f"SCHILY.xattr.{key.decode()}"]
        assert shown.encode("utf-8", "surrogateescape") == value


def make_tree(top: Path) -> None:
    """Some of everything that an ordinary user can make."""
    (top / "bin").mkdir(parents=True)
    (top / "bin/tool").write_bytes(b"tool" * 1000)
    (top / "bin/tool").chmod(0o4755)
    os.link(top / "bin/tool", top / "bin/other")
    (top / "empty").mkdir(mode=0o700)
    (top / "link").symlink_to("/etc/passwd")
    (top / "dangling").symlink_to("../../outside")
    os.mkfifo(top / "pipe", 0o640)
    (top / ("long" * 60)).write_text("x")
    deep = top / "/".join(["d" * 60] * 4)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    Path(os.fsdecode(os.fsencode(top) + b"/\xff\xfe")).write_text("bytes")
    (top / "Größe").write_text("text")
    for here, directories, files in os.walk(top, topdown=False):
        for number, name in enumerate([*directories, *files]):
            time = 1_000_000_000 * (10**9 + number) + number * 1001
            os.utime(Path(here, name), ns=(time, time), follow_symlinks=False)
    os.utime(top, ns=(5, 5))


def layer(tree: Path, upper: bool = False) -> bytes:
    out = io.BytesIO()
    written = write_layer(str(tree), out, upper)
    assert written.size == len(out.getvalue())
    return out.getvalue()


def unpacked(data: bytes, tree: Path) -> Notes:
    tree.mkdir(parents=True)

    def work() -> list[int]:
        with LayerStream(io.BytesIO(data), len(data), "layer") as stream:
            notes = unpack(stream, str(tree), "layer")
            stream.finish()
        return list(notes)

    return Notes(*as_root(work))


def described(top: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for here, directories, files in os.walk(top):
        for name in sorted([*directories, *files, "."]):
            path = Path(here, name)
            status = path.lstat()
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found.append(
                (
                    os.path.relpath(path, top),
                    status.st_mode,
                    status.st_uid,
                    status.st_gid,
                    status.st_mtime_ns,
                    0 if stat.S_ISDIR(status.st_mode) else status.st_nlink,
                    content,
                )
            )
    return sorted(found, key=lambda one: str(one[0]))


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    data = layer(tmp_path / "tree")
    notes = unpacked(data, tmp_path / "copy")
    assert described(tmp_path / "copy") == described(tmp_path / "tree")
    assert (notes.devices, notes.attributes) == (0, 0)
    assert layer(tmp_path / "copy") == data


def test_other_programs_read_it(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    (tmp_path / "layer.tar").write_bytes(layer(tmp_path / "tree"))
    (tmp_path / "copy").mkdir()
    command = ["tar", "-xpf", "layer.tar", "-C", "copy", "--same-owner"]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "LC_ALL": "C"})
    assert described(tmp_path / "copy") == described(tmp_path / "tree")


def test_the_order_in_which_files_were_made_does_not_matter(tmp_path: Path) -> None:
    for name, order in (("a", range(40)), ("b", reversed(range(40)))):
        (tmp_path / name).mkdir()
        for number in order:
            path = tmp_path / name / str(number)
            path.write_text(str(number))
            os.utime(path, ns=(0, 0))
        os.utime(tmp_path / name, ns=(0, 0))
    assert layer(tmp_path / "a") == layer(tmp_path / "b")


def has_user_attributes(path: Path) -> bool:
    try:
        os.setxattr(path, "user.nsbuild", b"")
    except OSError as error:
        return error.errno not in (errno.ENOTSUP, errno.EPERM)
    os.removexattr(path, "user.nsbuild")
    return True


def test_an_upper_directory_and_back(tmp_path: Path) -> None:
    needs("a file system with user.* attributes", has_user_attributes(tmp_path))
    upper = tmp_path / "upper"
    (upper / "opaque").mkdir(parents=True)
    (upper / "opaque/new").write_text("new")
    os.mknod(upper / "gone", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(upper / "opaque", "user.overlay.opaque", b"y")
    os.setxattr(upper / "opaque/new", "user.overlay.origin", b"x")
    os.setxattr(upper / "opaque/new", "user.own", b"\xff\0")
    data = layer(upper, upper=True)
    with tarfile.TarFile(fileobj=io.BytesIO(data), encoding="utf-8") as archive:
        names = archive.getnames()
        members = {member.name: member for member in archive.getmembers()}
    assert names == [".", ".wh.gone", "opaque", "opaque/.wh..wh..opq", "opaque/new"]
    assert list(members["opaque/new"].pax_headers) == ["mtime", "SCHILY.xattr.user.own"]
    assert members[".wh.gone"].mtime == 0
    copy = tmp_path / "copy"
    unpacked(data, copy)
    assert os.getxattr(copy / "opaque", "user.overlay.opaque") == b"y"
    assert os.listxattr(copy / "opaque/new") == ["user.own"]
    assert stat.S_ISCHR((copy / "gone").lstat().st_mode)
    assert (copy / "gone").lstat().st_rdev == 0
    assert layer(copy, upper=True) == data


def test_what_an_overlay_took_from_elsewhere_is_no_layer(tmp_path: Path) -> None:
    needs("a file system with user.* attributes", has_user_attributes(tmp_path))
    os.setxattr(tmp_path, "user.overlay.redirect", b"/elsewhere")
    with pytest.raises(NsbuildError, match="redirect_dir"):
        layer(tmp_path, upper=True)


def test_a_file_cannot_be_called_as_a_whiteout(tmp_path: Path) -> None:
    (tmp_path / ".wh.x").write_text("x")
    with pytest.raises(NsbuildError, match="name that means something"):
        layer(tmp_path)


def test_a_whiteout_is_about_the_layers_below(tmp_path: Path) -> None:
    needs("a file system with user.* attributes", has_user_attributes(tmp_path))
    entries = [
        Entry(b"a/.wh..wh..opq", tarheader.FILE, 0),
        Entry(b".wh.file", tarheader.FILE, 0),
        Entry(b".wh.directory", tarheader.FILE, 0),
        Entry(b".wh..wh.plnk", tarheader.FILE, 0),
        Entry(b"file", tarheader.FILE, 0o644),
        Entry(b"directory/", tarheader.DIRECTORY, 0o755),
    ]
    data = b"".join(map(tarheader.header, entries)) + tarheader.END
    unpacked(data, tmp_path / "t")
    assert sorted(os.listdir(tmp_path / "t")) == ["a", "directory", "file"]
    assert stat.S_ISREG((tmp_path / "t/file").lstat().st_mode)
    for name in ("a", "directory"):
        assert os.getxattr(tmp_path / "t" / name, "user.overlay.opaque") == b"y"


@settings(max_examples=30)
@given(st.lists(st.tuples(PATHS, st.booleans(), st.binary(max_size=2000)), max_size=8))
def test_any_tree_comes_back(
    tmp_path_factory: pytest.TempPathFactory, things: list[tuple[bytes, bool, bytes]]
) -> None:
    top = tmp_path_factory.mktemp("any")
    tree = top / "tree"
    tree.mkdir()
    for path, is_directory, content in things:
        parts = [part for part in path.split(b"/") if part not in (b".", b"..")]
        if not parts or any(part.startswith(b".wh.") for part in parts):
            continue
        place = Path(os.fsdecode(os.path.join(os.fsencode(tree), *parts)))
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if is_directory:
                place.mkdir()
            else:
                place.write_bytes(content)
        except OSError:
            continue
    data = layer(tree)
    unpacked(data, top / "copy")
    assert described(top / "copy") == described(tree)
    assert layer(top / "copy") == data
