"""What is in an image: its files through all layers, packages, what differs, and SPDX."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nsbuild.cli import human
from nsbuild.cli.imagediff import compare, printable
from nsbuild.errors import NsbuildError
from nsbuild.images import changes, packages
from nsbuild.images.contents import read
from nsbuild.images.documents import Image
from nsbuild.images.packages import Package
from nsbuild.images.sbom import package_url, spdx
from nsbuild.images.store import Store
from tests.system.capabilities import needs
from tests.unit.test_layers import has_user_attributes

STATUS = b"""\
Package: here
Status: install ok installed
Version: 1:2-3
Architecture: amd64
Description: x
 more: of it

Package: gone
Status: deinstall ok config-files
Version: 1

Package: old
Status: hold ok installed
Version: 0
Architecture: all
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    needs("a file system with user.* attributes", has_user_attributes(tmp_path))
    return Store(str(tmp_path / "store"))


def layered(store: Store, top: Path) -> Image:
    """Three layers that add, replace, hide and empty."""
    low, middle, high = (top / name for name in ("low", "middle", "high"))
    for directory in ("kept", "emptied", "hidden", "replaced"):
        (low / directory).mkdir(parents=True)
        (low / directory / "old").write_text(directory)
    (low / "file").write_text("file")
    os.link(low / "file", low / "linked")
    (low / "status").write_text("first")
    (middle / "emptied").mkdir(parents=True)
    (middle / "emptied/new").write_text("new")
    os.setxattr(middle / "emptied", "user.overlay.opaque", b"y")
    os.mknod(middle / "hidden", stat.S_IFCHR, 0)
    (middle / "status").write_text("second")
    (middle / "replaced").write_text("by a file")
    high.mkdir()
    (high / "kept").mkdir()
    os.mknod(high / "kept/old", stat.S_IFCHR, 0)
    (high / "hidden").symlink_to("elsewhere")
    layers = [store.add_layer(str(one), upper=True) for one in (low, middle, high)]
    image = store.commit(layers, {"os": "linux"}, ("localhost/layered:1",))
    store.close()
    return image


def test_the_files_of_all_layers(store: Store, tmp_path: Path) -> None:
    image = layered(store, tmp_path)
    contents = read(store, image, lambda path: path == "status")
    assert sorted(contents.files) == sorted(
        ["", "emptied", "emptied/new", "file", "hidden", "kept", "linked", "replaced", "status"]
    )
    assert contents.texts == {"status": b"second"}
    assert contents.files["linked"] == contents.files["file"]
    assert contents.files["file"].sha256 == hashlib.sha256(b"file").hexdigest()
    assert contents.files["hidden"].target == "elsewhere"
    assert contents.files["replaced"].kind == "file"


def test_what_differs(store: Store, tmp_path: Path) -> None:
    image = layered(store, tmp_path)
    first = image._replace(layers=image.layers[:1])
    found = compare(read(store, first).files, read(store, image).files)
    shown = {path: kind for path, kind, _ in found if kind != "C"}
    assert shown == {
        "/emptied/new": "A",
        "/emptied/old": "D",
        "/hidden/old": "D",
        "/kept/old": "D",
        "/replaced/old": "D",
    }
    why = {path: reasons for path, kind, reasons in found if kind == "C"}
    assert {"size", "sha256"} <= set(why["/status"])
    assert "kind" in why["/hidden"]
    assert compare(read(store, image).files, read(store, image).files) == []


def test_paths_do_nothing_to_a_terminal() -> None:
    assert printable("/größe") == "/größe"
    assert printable("/\x1b[2J\udcff\n") == "/\\x1b[2J\\udcff\\n"


def test_packages_of_dpkg() -> None:
    assert packages.read({packages.DPKG: STATUS, "other": b"Package: x\nVersion: 1\n"}) == [
        Package("deb", "here", "1:2-3", "amd64"),
        Package("deb", "old", "0", "all"),
    ]
    part = b"Package: part\nVersion: 5\nArchitecture: amd64\n"
    assert packages.read({"var/lib/dpkg/status.d/part": part}) == [
        Package("deb", "part", "5", "amd64")
    ]
    assert packages.is_database("var/lib/dpkg/status.d/part")
    assert not packages.is_database("var/lib/dpkg/status.d/part.md5sums")
    assert not packages.is_database("home/var/lib/dpkg/status")


def test_the_packages_that_dpkg_itself_lists() -> None:
    needs("dpkg-query", shutil.which("dpkg-query"))
    form = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"
    command = ["dpkg-query", "-W", "-f", form]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    expected = sorted(line[10:] for line in listed.splitlines() if line.startswith("installed "))
    found = packages.read({packages.DPKG: Path("/", packages.DPKG).read_bytes()})
    assert sorted(f"{one.name} {one.version} {one.architecture}" for one in found) == expected


_SPEC = """\
Name: little
Epoch: 4
Version: 1.2
Release: 3
Summary: nothing
License: MIT AND Zlib
BuildArch: noarch
%description
%files
"""


def test_packages_that_rpm_installed(tmp_path: Path) -> None:
    needs("the programs rpm and rpmbuild", shutil.which("rpm") and shutil.which("rpmbuild"))
    spec = tmp_path / "little.spec"
    spec.write_text(_SPEC)
    build = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}", str(spec)]
    subprocess.run(build, check=True, capture_output=True)
    (package,) = tmp_path.glob("RPMS/noarch/*.rpm")
    database = tmp_path / "database"
    install = ["rpm", "--dbpath", str(database), "--justdb", "--nodeps", "-i", str(package)]
    subprocess.run(install, check=True, capture_output=True)
    (name,) = {one.name for one in database.iterdir()} & {"rpmdb.sqlite", "Packages.db"}
    assert packages.read({f"var/lib/rpm/{name}": (database / name).read_bytes()}) == [
        Package("rpm", "little", "4:1.2-3", "noarch", "MIT AND Zlib")
    ]


def test_packages_of_rpm(tmp_path: Path) -> None:
    needs("the program rpm", shutil.which("rpm"))
    subprocess.run(["rpm", "--dbpath", str(tmp_path), "--initdb"], check=True)
    (name,) = {one.name for one in tmp_path.iterdir()} & {"rpmdb.sqlite", "Packages.db"}
    assert packages.read({f"usr/lib/sysimage/rpm/{name}": (tmp_path / name).read_bytes()}) == []
    assert packages.is_database("var/lib/rpm/rpmdb.sqlite")
    with pytest.raises(NsbuildError, match="cannot read the database of rpm"):
        packages.read({f"usr/lib/sysimage/rpm/{name}": b"x" * 9000})


def test_spdx_is_valid_and_the_same(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("spdx_tools")
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    image = layered(store, tmp_path)
    contents = read(store, image)
    listed = packages.read({packages.DPKG: STATUS})
    created = datetime(2020, 1, 1, tzinfo=UTC)
    texts = {
        json.dumps(spdx(image, "layered", listed, contents.files, created, "1"), sort_keys=True)
        for _ in range(2)
    }
    (text,) = texts
    document = JsonLikeDictParser().parse(json.loads(text))  # type: ignore[no-untyped-call]
    assert validate_full_spdx_document(document) == []
    assert [one.name for one in document.packages] == ["layered", "here", "old"]
    assert sorted(one.name for one in document.files) == [
        *("./emptied/new", "./file", "./linked", "./replaced", "./status"),
    ]
    assert package_url(listed[0]) == "pkg:deb/here@1%3A2-3?arch=amd64"


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ('CMD ["a", "b"]', "Cmd", ["a", "b"]),
        ("CMD=a b", "Cmd", ["/bin/sh", "-c", "a b"]),
        ("cmd []", "Cmd", []),
        ("ENTRYPOINT ['a']", "Entrypoint", ["/bin/sh", "-c", "['a']"]),
        ("ENV A=1 B='2 3'", "Env", ["OLD=1", "A=1", "B=2 3"]),
        ("ENV OLD new value", "Env", ["OLD=new value"]),
        ("LABEL a=b c=d", "Labels", {"a": "b", "c": "d"}),
        ("EXPOSE 80/tcp 443", "ExposedPorts", {"80/tcp": {}, "443": {}}),
        ('VOLUME ["/a b"]', "Volumes", {"/a b": {}}),
        ("USER me:us", "User", "me:us"),
        ("WORKDIR /srv", "WorkingDir", "/srv"),
        ("STOPSIGNAL SIGINT", "StopSignal", "SIGINT"),
        ("ONBUILD RUN x", "OnBuild", ["RUN x"]),
    ],
)
def test_changes(change: str, key: str, value: object) -> None:
    before = {"config": {"Env": ["OLD=1"]}}
    assert changes.apply(before, [change])["config"][key] == value
    assert before == {"config": {"Env": ["OLD=1"]}}


@pytest.mark.parametrize("change", ["", "CMD", "RUN x", "ENV A", "ENV ='1'", "LABEL 'a", "USER "])
def test_what_is_no_change(change: str) -> None:
    with pytest.raises(NsbuildError, match="invalid change"):
        changes.apply({}, [change])


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_997_944, "2 MB"), (123_456_789, "123 MB")],
)
def test_sizes(count: int, shown: str) -> None:
    assert human.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        *((0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute")),
        *((120, "2 minutes"), (3600, "About an hour"), (7200, "2 hours"), (86400 * 3, "3 days")),
        *((86400 * 15, "2 weeks"), (86400 * 70, "2 months"), (86400 * 365 * 3.9, "3 years")),
    ],
)
def test_times(seconds: float, shown: str) -> None:
    assert human.span(seconds) == shown
    assert human.ago(human.moment("1970-01-01T00:00:00Z"), seconds) == f"{shown} ago"


def test_moments() -> None:
    assert human.moment("2026-11-27T07:24:48.662102252Z").year == 2026
    assert human.moment("nonsense").timestamp() == 0
    assert human.stamp(human.moment("2020-01-01T01:00:00+01:00")) == "2020-01-01 00:00:00 +0000 UTC"
