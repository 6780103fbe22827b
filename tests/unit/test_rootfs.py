"""The plan of the container's root: what is decided, from what the host shows, before any act."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.container import cpumodel
from nsbuild.container.hostview import Host, MountInfo, parse_mountinfo, visible_mounts
from nsbuild.container.inside import make_inside
from nsbuild.container.machine import cpu_directory, cpuinfo, machine_files
from nsbuild.container.operations import Bind
from nsbuild.container.rootfs import created_mountpoints, plan_root
from nsbuild.container.spec import Identity, RootSpec, Tmpfs, Volume
from nsbuild.errors import NsbuildError

Tree = dict[str, object]
"""A directory: names with another tree, a file's text, or "-> " and a link's text."""

DEV: Tree = {"null": "", "zero": "", "full": "", "tty": ""}
STANDARD: Tree = {"proc": {}, "sys": {}, "dev": {}, "tmp": {}, "run": {}}
HOST: Tree = {
    "proc": {"kcore": "", "keys": "", "acpi": {}, "sys": {}, "bus": {}},
    "sys": {},
    "dev": DEV,
    "tmp": {},
    "run": {},
    "mnt": {},
    "etc": {"resolv.conf": "nameserver"},
}
CPUINFO = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu MHz\t\t: 2596.154\nflags\t\t: fpu avx\n\n"


class FakeHost(Host):
    """A host made of a tree and a table of mounts (mount point: file system)."""

    def __init__(self, tree: Tree, mounts: dict[str, str] | None = None, ro: bool = False) -> None:
        self.tree = tree
        self.table = {"/": "ext4"} | (mounts or {})
        self.ro = ro

    def _find(self, path: str) -> object:
        node: object = self.tree
        for part in path.split("/"):
            if part:
                node = node.get(part) if isinstance(node, dict) else None
        return node

    def kind(self, path: str) -> str:
        node = self._find(path)
        if node is None:
            return ""
        if isinstance(node, dict):
            return "directory"
        return "link" if str(node).startswith("-> ") else "file"

    def exists(self, path: str) -> bool:
        return bool(self.kind(path))

    def link(self, path: str) -> str:
        return str(self._find(path)).removeprefix("-> ")

    def real(self, path: str) -> str:
        return os.path.normpath(path)

    def check_directory(self, path: str) -> None:
        if self.kind(path) != "directory":
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)

    def is_read_only(self, path: str) -> bool:
        return self.ro

    def directories(self, path: str) -> list[str]:
        node = self._find(path)
        assert isinstance(node, dict)
        return sorted(name for name in node if isinstance(node[name], dict))

    def mounts(self) -> dict[str, MountInfo]:
        return {
            point: MountInfo(number, 0, point, ("rw", "nosuid"), fstype)
            for number, (point, fstype) in enumerate(self.table.items(), 1)
        }

    def cpuinfo(self) -> str:
        return CPUINFO

    def own_places(self) -> list[str]:
        return ["/usr/lib/python3"]


def lines(spec: RootSpec, host: Host) -> list[str]:
    return [operation.describe() for operation in plan_root(spec, host)]


def with_target(target: Tree) -> FakeHost:
    return FakeHost({**HOST, "srv": {"root": target}})


TARGET = RootSpec("/srv/root")


def test_target_directory_in_order() -> None:
    told = lines(TARGET, with_target(STANDARD))
    assert told[:5] == [
        "make all mounts private",
        "mount the staging tmpfs over /run (in the private mount namespace)",
        "bind /srv/root as the root",
        "mount proc on /proc",
        "open /proc/sys/kernel/ns_last_pid",
    ]
    assert told[-1] == "enter the new root and detach the old one"
    assert told[5].startswith("put constant files over those of /proc (")
    assert re.fullmatch(r"put \d+ constant files on /sys", told[6])


def test_a_baseline_processor_in_a_target_directory() -> None:
    """libgcrypt's file is covered where it is, and a root that stays gets none."""
    spec = TARGET._replace(cpu_model="baseline")
    covered = "put a constant file over /etc/gcrypt/hwf.deny where there is one"
    with_it = with_target({**STANDARD, "etc": {"gcrypt": {"hwf.deny": ""}}})
    assert covered in lines(spec, with_it)
    assert covered not in lines(TARGET, with_it)
    without: tuple[Tree, ...] = ({}, {"gcrypt": {}})
    for etc in without:
        told = lines(spec, with_target({**STANDARD, "etc": etc}))
        assert not [line for line in told if "gcrypt" in line]


def test_a_baseline_processor_on_the_hosts_root() -> None:
    """The file is there before a read-only root is frozen."""
    host = FakeHost(HOST)
    spec = RootSpec("/", "/", read_only=True, cpu_model="baseline")
    told = lines(spec, host)
    made = told.index("put a constant file at /etc/gcrypt/hwf.deny")
    assert made < told.index("make the root read-only")
    assert not [line for line in lines(RootSpec("/", "/"), host) if "gcrypt" in line]


def test_a_baseline_processor_has_no_flag_of_the_hosts() -> None:
    flags = cpuinfo(cpumodel.CPUINFO).partition("flags\t\t: ")[2].partition("\n")[0].split()
    assert {"sse2", "lm"} < set(flags)
    assert not {"pni", "avx", "rdrand"} & set(flags)


def test_missing_mount_points_are_made_and_named() -> None:
    host = with_target({"proc": {}, "tmp": {}})
    assert created_mountpoints(TARGET, host) == ["/srv/root/sys", "/srv/root/dev", "/srv/root/run"]
    told = lines(TARGET, host)
    assert told[3:6] == [f"make the directory /{name} (mode 755)" for name in ("sys", "dev", "run")]
    assert created_mountpoints(TARGET, with_target(STANDARD)) == []
    assert created_mountpoints(RootSpec("/"), host) == []


@pytest.mark.parametrize("asked", [True, False])
def test_read_only_target_without_mount_points(asked: bool) -> None:
    host = with_target({"proc": {}, "sys": {}, "dev": {}, "run": {}})
    host.ro = not asked
    with pytest.raises(NsbuildError, match="/tmp in /srv/root") as caught:
        plan_root(TARGET._replace(read_only=asked), host)
    assert caught.value.hint == "mkdir /srv/root/tmp"
    assert caught.value.code == 125


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("what", ["-> /etc", "text"])
def test_masked_places_must_be_directories(name: str, what: str) -> None:
    with pytest.raises(NsbuildError, match=f"cannot mount on /srv/root/{name}"):
        plan_root(TARGET, with_target({**STANDARD, name: what}))


def test_tmp_may_be_a_link_but_not_a_file() -> None:
    assert lines(TARGET, with_target({**STANDARD, "tmp": "-> var/tmp"}))
    with pytest.raises(NsbuildError, match="/srv/root/tmp: it is a file"):
        plan_root(TARGET, with_target({**STANDARD, "tmp": "text"}))


@pytest.mark.parametrize("target", ["/nowhere", "/etc/resolv.conf"])
def test_target_must_be_a_directory(target: str) -> None:
    with pytest.raises(NsbuildError, match=f"cannot use '{target}' as the root"):
        plan_root(RootSpec(target), FakeHost(HOST))


@pytest.mark.parametrize(
    ("target", "source", "place"),
    [
        ("/srv/root", "/etc", "/run"),
        ("/srv/root", "/run/user", "/tmp"),
        ("/srv/root", "/run", "/tmp"),
        ("/tmp/root", "/runway", "/run"),
        ("/tmp/root", "/run/x", "/mnt"),
    ],
)
def test_staging_hides_nothing_that_is_used(target: str, source: str, place: str) -> None:
    tree = {
        **HOST,
        "srv": {"root": STANDARD},
        "tmp": {"root": STANDARD},
        "run": {"user": {}, "x": {}},
        "runway": {},
    }
    told = lines(RootSpec(target, volumes=(Volume(source, "/v"),)), FakeHost(tree))
    assert f"mount the staging tmpfs over {place} (in the private mount namespace)" in told


def test_no_place_for_staging_is_said() -> None:
    host = FakeHost({"proc": {}, "sys": {}, "dev": DEV, "tmp": {"root": STANDARD}, "run": "text"})
    spec = RootSpec("/tmp/root", volumes=(Volume("/sys", "/v"),))
    with pytest.raises(NsbuildError, match="cannot find a directory to stage the root in"):
        plan_root(spec, host)


def test_host_root_splits_where_mounts_are() -> None:
    tree = {
        **HOST,
        "usr": {"bin": {}},
        "home": {"u": {"disk": {}, "work": {}}, "v": {}},
        "var": {"lib": {"nfs": {"pipes": {}}}, "tmp": {}},
    }
    mounts = {"/proc": "proc", "/dev/pts": "devpts", "/home/u/disk": "xfs"}
    mounts["/var/lib/nfs/pipes"] = "rpc_pipefs"
    told = lines(RootSpec("/", writable_cwd="/home/u/work"), FakeHost(tree, mounts))
    assert [line for line in told if "an overlay" in line] == [
        f"mount an overlay over the host's {path} (read-only where overlayfs refuses)"
        for path in ("/etc", "/home/u/disk", "/home/u/work", "/home/v", "/mnt", "/usr", "/var/tmp")
    ]
    anew = [line for line in told if line.endswith("anew, with the files in it")]
    assert [line.split()[4] for line in anew] == [
        "/",
        "/home",
        "/home/u",
        "/var",
        "/var/lib",
        "/var/lib/nfs",
    ]
    assert told[-2] == "bind /home/u/work on /home/u/work"


def test_the_working_directory_comes_after_the_fresh_tmp() -> None:
    host = FakeHost({**HOST, "tmp": {"build": {}}})
    told = lines(RootSpec("/", writable_cwd="/tmp/build"), host)
    assert told.index("mount tmpfs on /tmp (mode=1777)") < told.index(
        "bind /tmp/build on /tmp/build"
    )
    assert "mount the staging tmpfs over /run (in the private mount namespace)" in told
    assert not [line for line in lines(RootSpec("/", writable_cwd="/"), host) if "bind / " in line]


def test_volumes_and_tmpfs_come_last_in_order_and_outer_ones_before_inner_ones() -> None:
    spec = TARGET._replace(
        volumes=(Volume("/etc", "/a/b", True), Volume("/mnt", "/t/u"), Volume("/mnt", "/a")),
        tmpfs=(Tmpfs("/a/c/", "size=1m,ro,mode=700"), Tmpfs("/t")),
    )
    assert lines(spec, with_target(STANDARD))[-6:-1] == [
        "bind /mnt on /a",
        "mount tmpfs on /t (mode=1777)",
        "bind /etc on /a/b (read-only)",
        "bind /mnt on /t/u",
        "mount tmpfs on /a/c/ (mode=700,size=1m)",
    ]


def test_missing_volume_is_said() -> None:
    with pytest.raises(NsbuildError, match="cannot bind '/nowhere' on /v: No such file"):
        plan_root(TARGET._replace(volumes=(Volume("/nowhere", "/v"),)), with_target(STANDARD))


def test_network_host_takes_the_host_s_settings_and_resolver() -> None:
    spec = TARGET._replace(network="host")
    host = with_target({**STANDARD, "etc": {"resolv.conf": ""}})
    told = lines(spec, host)
    assert any(line.endswith(", sys/kernel/hostname, sys/net, sysvipc") for line in told)
    assert any(line.endswith(", sys/kernel/hostname, sysvipc") for line in lines(TARGET, host))
    assert "bind /etc/resolv.conf on /etc/resolv.conf (read-only)" in told
    assert not [op for op in plan_root(spec, with_target(STANDARD)) if _binds(op, "/etc")]
    assert not [op for op in plan_root(TARGET, host) if _binds(op, "/etc")]


def _binds(operation: object, below: str) -> bool:
    return isinstance(operation, Bind) and operation.target.startswith(below)


def test_lock_directory_only_where_var_lock_leads_to_it() -> None:
    made = "make the directory /run/lock (mode 1777)"
    for link in ("-> /run/lock", "-> ../run/lock"):
        assert made in lines(TARGET, with_target({**STANDARD, "var": {"lock": link}}))
    others: tuple[object, ...] = ("-> /elsewhere", {})
    for lock in others:
        assert made not in lines(TARGET, with_target({**STANDARD, "var": {"lock": lock}}))


def test_planning_acts_on_nothing(tmp_path: Path) -> None:
    target = tmp_path / "root"
    target.mkdir()
    before = Path("/proc/self/mountinfo").read_text()
    assert len(plan_root(RootSpec(str(target)))) > 20
    assert created_mountpoints(RootSpec(str(target)))[0] == f"{target}/proc"
    assert list(target.iterdir()) == []
    assert Path("/proc/self/mountinfo").read_text() == before


# The mount table


def mount_line(identity: int, parent: int, point: str) -> str:
    return f"{identity} {parent} 8:1 / {point} rw,nodev shared:1 master:2 - ext4 /dev/x rw"


def test_mountinfo_with_escapes_and_optional_fields() -> None:
    text = mount_line(7, 1, "/a\\040b\\134c") + "\n8 7 0:2 / /p ro - proc proc rw\n"
    assert parse_mountinfo(text) == [
        MountInfo(7, 1, "/a b\\c", ("rw", "nodev"), "ext4"),
        MountInfo(8, 7, "/p", ("ro",), "proc"),
    ]


def test_mounts_under_other_mounts_are_not_seen() -> None:
    points = [(2, 1, "/"), (3, 2, "/a"), (4, 3, "/a/b"), (5, 3, "/a"), (6, 5, "/a/c"), (7, 2, "/d")]
    seen = visible_mounts(parse_mountinfo("\n".join(mount_line(*point) for point in points)))
    assert {path: mount.identity for path, mount in seen.items()} == {
        "/": 2,
        "/a": 5,
        "/a/c": 6,
        "/d": 7,
    }


# Making mount points inside a root


@pytest.fixture
def inner(tmp_path: Path) -> Path:
    """A root with an outside next to it."""
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    return root


def made(root: Path, path: str, kind: str = "directory") -> str:
    """Where `path` was made, relative to the root."""
    fd = os.open(root, os.O_PATH)
    try:
        inside = make_inside(fd, path, kind)
    finally:
        os.close(fd)
    try:
        assert stat.S_ISDIR(os.fstat(inside).st_mode) == (kind == "directory")
        return os.path.relpath(os.readlink(f"/proc/self/fd/{inside}"), root)
    finally:
        os.close(inside)


@pytest.mark.parametrize(
    ("link", "path", "where"),
    [
        ("../../../outside", "/etc/l/x", "outside/x"),
        ("/outside", "/etc/l/x", "outside/x"),
        ("../gone/deep", "/etc/l", "gone/deep"),
        ("/", "/etc/l/../../x", "x"),
        (".", "/etc/./l/x", "etc/x"),
    ],
)
def test_links_stay_inside_the_root(inner: Path, link: str, path: str, where: str) -> None:
    (inner / "etc/l").symlink_to(link)
    assert made(inner, path) == where
    assert list((inner.parent / "outside").iterdir()) == []


def test_a_file_is_made_with_its_parents(inner: Path) -> None:
    assert made(inner, "/new/deep/file", "file") == "new/deep/file"


def test_link_loops_end(inner: Path) -> None:
    (inner / "a").symlink_to("b")
    (inner / "b").symlink_to("a")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        made(inner, "/a/x")


def test_a_file_is_no_directory(inner: Path) -> None:
    (inner / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        made(inner, "/file/x")


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "etc", "up", "top"]), max_size=8))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    top = tmp_path_factory.mktemp("top")
    root = top / "root"
    root.mkdir()
    (root / "up").symlink_to("../../..")
    (root / "top").symlink_to("/")
    assert not made(root, "/".join(parts)).startswith("..")
    assert [path.name for path in top.iterdir()] == ["root"]


# The machine


def test_cpuinfo_keeps_flags_and_vendor_only() -> None:
    other = CPUINFO.replace("2596.154", "800.0").replace("processor\t: 0", "processor\t: 3")
    assert cpuinfo(CPUINFO * 4) == cpuinfo(other)
    text = cpuinfo(CPUINFO * 4)
    assert text.count("processor\t:") == 1
    assert "flags\t\t: fpu avx\n" in text
    assert "vendor_id\t: AuthenticAMD\n" in text
    assert cpuinfo(CPUINFO.replace("avx", "sse")) != text


def test_machine_files_follow_the_identity() -> None:
    identity = Identity(release="9.9-x", version="#7", boot_id="b00")
    files = machine_files(identity, 86400, CPUINFO)
    assert files["version"].startswith("Linux version 9.9-x (")
    assert files["version"].endswith(" #7\n")
    assert "btime 86400\n" in files["stat"]
    assert [line.split()[0] for line in files["stat"].splitlines()[:2]] == ["cpu", "cpu0"]
    assert all(text.endswith("\n") for text in files.values())


def test_one_processor_in_sys() -> None:
    files = cpu_directory()
    assert {files[name] for name in ("online", "possible", "present")} == {"0\n"}
    assert {name.split("/")[0] for name in files if name.startswith("cpu")} == {"cpu0"}
