"""The container's root seen from inside, as root and as an ordinary user with one id.

`Box.look` forks a process into namespaces of its own, lets it build the root as the init of its PID
namespace, and asks it a question; the answer comes back as JSON. No command is run, so a target
needs no files, and what is missing in it cannot be hidden by a shell.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import shutil
import signal
import stat
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nsbuild.container.rootfs import RootPlan, created_mountpoints, plan_root
from nsbuild.container.spec import Identity, RootSpec, Tmpfs, Volume
from nsbuild.errors import NsbuildError
from nsbuild.kernel import namespaces
from nsbuild.kernel.libc import libc
from nsbuild.kernel.mount import mount, umount2
from tests.system.capabilities import needs

ONE_ID = 12345
PR_SET_DUMPABLE = 4
ALL = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWCGROUP
)

Look = Callable[[RootPlan], object]
Act = Callable[[RootPlan], None]


def build(plan: RootPlan) -> None:
    """Do the whole plan."""
    for operation in plan:
        operation.do()


def refused(number: int, act: Callable[[], object]) -> bool:
    """Whether `act` fails with the errno `number`."""
    try:
        act()
    except OSError as error:
        return error.errno == number
    return False


def points() -> list[list[str]]:
    """Mount point, options and file system of each mount."""
    fields = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [[line[4], line[5], line[line.index("-") + 1]] for line in fields]


class Box:
    """Builds roots as one user; `place` is a directory of that user's own."""

    def __init__(self, uid: int, place: Path) -> None:
        self.uid = uid
        self.place = place

    def target(self, *names: str) -> Path:
        """A target directory with the standard mount points and the directories `names`."""
        root = Path(tempfile.mkdtemp(dir=self.place))
        root.chmod(0o755)
        for name in ("proc", "sys", "dev", "tmp", "run", *names):
            (root / name).mkdir(parents=True)
        self.own(root)
        return root

    def own(self, *paths: Path) -> None:
        """Give `paths`, and what is below them, to the user."""
        for top in paths:
            for path in (top, *top.rglob("*")):
                os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def look(
        self, spec: RootSpec, look: Look, act: Act = build, before: Callable[[], None] | None = None
    ) -> object:
        """What `look` says inside; NsbuildError is raised here as it was there.

        `before` is run as root in a mount namespace around the container's.
        """
        answer_r, answer_w = os.pipe()
        ready_r, ready_w = os.pipe()
        go_r, go_w = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(answer_r)
            os.close(ready_r)
            os.close(go_w)
            self._child(spec, look, act, before, (answer_w, ready_w, go_r))
        for fd in (answer_w, ready_w, go_r):
            os.close(fd)
        if os.read(ready_r, 1):
            self._map(child)
            os.write(go_w, b"x")
        with open(answer_r, "rb") as file:
            answer = file.read()
        os.waitpid(child, 0)
        os.close(ready_r)
        os.close(go_w)
        return self._answer(answer)

    def _answer(self, raw: bytes) -> object:
        if not raw:
            return None
        kind, value = json.loads(raw)
        if kind == "refused":
            raise NsbuildError(*value)
        assert kind == "answer", value
        return value

    def _map(self, pid: int) -> None:
        ids = f"0 {self.uid} 1" if self.uid else "0 0 4294967295"
        if self.uid:
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/uid_map").write_text(ids)
        Path(f"/proc/{pid}/gid_map").write_text(ids)

    def _child(
        self,
        spec: RootSpec,
        look: Look,
        act: Act,
        before: Callable[[], None] | None,
        pipes: tuple[int, int, int],
    ) -> None:
        answer, ready, go = pipes
        try:
            if before:
                namespaces.unshare(namespaces.CLONE_NEWNS)
                before()
            if self.uid:
                os.setgroups([])
                os.setresgid(self.uid, self.uid, self.uid)
                os.setresuid(self.uid, self.uid, self.uid)
                # As after the execve that a user's own process has behind it.
                libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            namespaces.unshare(namespaces.CLONE_NEWUSER)
            os.write(ready, b"x")
            os.close(ready)
            os.read(go, 1)
            net = namespaces.CLONE_NEWNET if spec.network == "none" else 0
            namespaces.unshare(ALL | net)
            init = os.fork()
            if init == 0:
                os.write(answer, json.dumps(self._init(spec, look, act)).encode())
                os._exit(0)
            os.waitpid(init, 0)
        finally:
            os._exit(0)

    def _init(self, spec: RootSpec, look: Look, act: Act) -> tuple[str, object]:
        try:
            plan = plan_root(spec)
            act(plan)
            return "answer", look(plan)
        except NsbuildError as error:
            return "refused", (error.message, error.hint, error.code)
        except (OSError, AssertionError, ValueError):
            return "crashed", traceback.format_exc()


@pytest.fixture(params=[0, ONE_ID], ids=["root", "one-id"])
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    needs("root", os.getuid() == 0)
    place = Path(tempfile.mkdtemp(prefix="nsbuild-rootfs-", dir="/var/tmp"))
    place.chmod(0o755)
    os.chown(place, request.param, request.param)
    mounts = Path("/proc/self/mountinfo").read_text()
    try:
        yield Box(request.param, place)
        assert Path("/proc/self/mountinfo").read_text() == mounts
    finally:
        shutil.rmtree(place)


def listing(top: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mode) for path in top.rglob("*"))


# A target directory


def test_mounts_are_the_planned_ones(box: Box) -> None:
    root = box.target()
    seen = box.look(RootSpec(str(root)), lambda _: points())
    assert isinstance(seen, list)
    fstypes = {point: fstype for point, _, fstype in seen}
    below_proc = {point for point in fstypes if point.startswith("/proc/")}
    devices = {"/dev/null", "/dev/zero", "/dev/full", "/dev/tty"}
    assert set(fstypes) - below_proc - devices == {
        "/",
        "/proc",
        "/sys",
        "/sys/devices/system/cpu",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/tmp",
        "/run",
    }
    assert all("ro" in options.split(",") for point, options, _ in seen if point in below_proc)
    assert fstypes["/dev/pts"] == "devpts"
    assert fstypes["/dev/mqueue"] == "mqueue"
    assert len(seen) == len(fstypes)


def test_the_process_is_in_the_new_root(box: Box) -> None:
    root = box.target("only-here")

    def look(_: RootPlan) -> object:
        return [os.getcwd(), os.listdir("/"), os.path.exists("/../etc"), os.getpid()]

    cwd, names, outside, pid = _list(box.look(RootSpec(str(root)), look))
    assert (cwd, outside, pid) == ("/", False, 1)
    assert sorted(_list(names)) == ["dev", "only-here", "proc", "run", "sys", "tmp"]


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def test_writes_to_a_target_stay_and_fresh_places_do_not(box: Box) -> None:
    root = box.target("home")

    def look(_: RootPlan) -> None:
        for path in ("/home/kept", "/tmp/gone", "/run/gone", "/dev/gone", "/dev/shm/gone"):
            Path(path).write_text("x")

    box.look(RootSpec(str(root)), look)
    assert [path.name for path in (root / "home").iterdir()] == ["kept"]
    assert not any(list((root / name).iterdir()) for name in ("tmp", "run", "dev"))


def test_read_only_target_with_a_volume_inside(box: Box) -> None:
    root, source = box.target("home", "vol"), box.target()

    def look(_: RootPlan) -> object:
        Path("/vol/x").write_text("x")
        Path("/tmp/x").write_text("x")
        return refused(errno.EROFS, lambda: Path("/home/x").write_text("x"))

    spec = RootSpec(str(root), read_only=True, volumes=(Volume(str(source), "/vol"),))
    assert box.look(spec, look) is True
    assert (source / "x").exists()
    with pytest.raises(NsbuildError, match="cannot bind .* on /gone: Read-only file system"):
        box.look(spec._replace(volumes=(Volume(str(source), "/gone"),)), look)


def test_a_read_only_target_keeps_the_locked_flags(box: Box) -> None:
    root = box.target()

    def before() -> None:
        # Inherited by a user namespace, nosuid and nodev are locked: clearing them is EPERM.
        mount("none", "/", None, 0x4000 | 0x40000)
        mount(str(root), str(root), None, 0x1000)
        mount("none", str(root), None, 0x1000 | 0x20 | 0x2 | 0x4)

    seen = box.look(RootSpec(str(root), read_only=True), lambda _: points()[0], before=before)
    assert _list(seen)[0] == "/"
    assert str(_list(seen)[1]).split(",")[:3] == ["ro", "nosuid", "nodev"]


def test_mounts_below_the_target_come_along(box: Box) -> None:
    root = box.target("data")

    def before() -> None:
        mount("none", "/", None, 0x4000 | 0x40000)
        mount("tmpfs", str(root / "data"), "tmpfs", 0, "mode=0755")
        (root / "data/there").write_text("x")

    spec = RootSpec(str(root))
    assert box.look(spec, lambda _: os.listdir("/data"), before=before) == ["there"]


def test_an_empty_directory_is_enough(box: Box) -> None:
    root = box.target()
    for path in root.iterdir():
        path.rmdir()
    spec = RootSpec(str(root))
    made = created_mountpoints(spec)
    assert [Path(path).name for path in made] == ["proc", "sys", "dev", "tmp", "run"]

    def look(_: RootPlan) -> object:
        return refused(errno.ENOENT, lambda: os.execv("/bin/true", ["true"]))

    assert box.look(spec, look) is True
    assert sorted(made) == sorted(str(path) for path in root.iterdir())
    for path in made:
        os.rmdir(path)


def test_killed_at_any_moment_it_leaves_nothing(box: Box) -> None:
    root = box.target("etc")
    (root / "etc/machine-id").write_text("")
    spec = RootSpec(str(root), volumes=(Volume(str(box.place), "/home"),))
    (root / "home").mkdir()
    before = listing(box.place)

    def stop_after(count: int) -> Act:
        def act(plan: RootPlan) -> None:
            for operation in plan.operations[:count]:
                operation.do()
            os.kill(os.getpid(), signal.SIGKILL)

        return act

    for count in range(0, len(plan_root(spec)) + 1, 3):
        # PID 1 is deaf to its own SIGKILL, so it takes another process of the namespace's parent.
        assert box.look(spec, lambda _: "alive", _killed_by_parent(count)) is None
    assert listing(box.place) == before
    assert stop_after(0) is not None


def _killed_by_parent(count: int) -> Act:
    """Do `count` operations, then be killed from outside the PID namespace."""

    def act(plan: RootPlan) -> None:
        for operation in plan.operations[:count]:
            operation.do()
        os._exit(9)

    return act


# Links in a hostile target


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_link_for_a_masked_place_is_refused(box: Box, name: str) -> None:
    root = box.target("etc")
    (root / name).rmdir()
    (root / name).symlink_to("/etc")
    with pytest.raises(NsbuildError, match=f"cannot mount on {root}/{name}: it is a link"):
        box.look(RootSpec(str(root)), lambda _: None)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_link_that_comes_after_the_plan_is_refused(box: Box, name: str) -> None:
    root = box.target("etc")

    def act(plan: RootPlan) -> None:
        (root / name).rmdir()
        (root / name).symlink_to("/etc")
        build(plan)

    with pytest.raises(NsbuildError, match=f"on /{name}: Too many levels") as caught:
        box.look(RootSpec(str(root)), lambda _: None, act)
    assert caught.value.hint == f"/{name} of the target must be an ordinary directory"


@pytest.mark.parametrize("link", ["/etc", "../../../../../../../../etc", "etc"])
def test_a_link_for_tmp_leads_no_further_than_the_root(box: Box, link: str) -> None:
    root = box.target("etc")
    (root / "tmp").rmdir()
    (root / "tmp").symlink_to(link)
    seen = box.look(RootSpec(str(root)), lambda _: [point for point, _, _ in points()])
    assert "/etc" in _list(seen)
    assert "/tmp" not in _list(seen)


def test_a_volume_through_links_stays_inside(box: Box) -> None:
    root, source, outside = box.target("in"), box.target("marker"), box.target()
    (root / "in/up").symlink_to(f"../../../../../../..{outside}")
    (root / "in/abs").symlink_to(str(outside))
    before = listing(outside)
    spec = RootSpec(
        str(root),
        volumes=(Volume(str(source), "/in/up/new"), Volume(str(source), "/in/abs/other")),
    )

    def look(_: RootPlan) -> object:
        return [os.path.exists(f"{outside}/{name}/marker") for name in ("new", "other")]

    assert box.look(spec, look) == [True, True]
    assert listing(outside) == before


# /proc, /sys and /dev


def test_one_processor_and_a_constant_identity(box: Box) -> None:
    root = box.target("etc")
    (root / "etc/machine-id").write_text("ffff\n")
    identity = Identity(release="9.9-test", machine_id="abcd")
    files = (
        "/proc/cpuinfo",
        "/proc/sys/kernel/osrelease",
        "/etc/machine-id",
        "/sys/devices/system/cpu/online",
        "/proc/loadavg",
    )

    def look(_: RootPlan) -> object:
        texts = [Path(path).read_text() for path in files]
        return [*texts, refused(errno.EROFS, lambda: Path(files[2]).write_text("x"))]

    spec = RootSpec(str(root), identity=identity, boot_time=7)
    cpuinfo, *rest = _list(box.look(spec, look))
    assert str(cpuinfo).count("processor\t:") == 1
    assert rest == ["9.9-test\n", "abcd\n", "0\n", "0.00 0.00 0.00 1/1 2\n", True]
    assert (root / "etc/machine-id").read_text() == "ffff\n"
    assert os.cpu_count() == 1 or Path("/proc/cpuinfo").read_text().count("processor\t:") > 1


def test_the_kernel_s_own_settings_are_out_of_reach(box: Box) -> None:
    spec = RootSpec(str(box.target()))

    def write(path: str) -> bool:
        return refused(errno.EROFS, lambda: os.open(path, os.O_WRONLY))

    def look(_: RootPlan) -> object:
        kcore = os.path.exists("/proc/kcore") and os.stat("/proc/kcore").st_rdev != os.makedev(1, 3)
        return [
            write("/proc/sys/kernel/core_pattern"),
            write("/proc/sys/kernel/ns_last_pid"),
            write("/sys/kernel/mm/transparent_hugepage/enabled"),
            kcore,
            Path("/proc/timer_list").read_text(),
        ]

    assert box.look(spec, look) == [True, True, True, False, ""]


def test_init_keeps_the_way_to_choose_pids(box: Box) -> None:
    def look(plan: RootPlan) -> object:
        os.write(plan.ns_last_pid_fd, b"4711")
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return child

    assert box.look(RootSpec(str(box.target())), look) == 4712


def test_init_keeps_an_unmasked_proc(box: Box) -> None:
    def look(plan: RootPlan) -> object:
        fd = os.open("cpuinfo", os.O_RDONLY, dir_fd=plan.proc_fd)
        unmasked = os.read(fd, 1 << 16)
        return [
            unmasked.decode() != Path("/proc/cpuinfo").read_text(),
            os.readlink("self", dir_fd=plan.proc_fd),
            plan.root.root_fd,
            plan.root.staging_fd,
        ]

    assert box.look(RootSpec(str(box.target())), look) == [True, "1", -1, -1]


def test_no_descriptor_of_the_building_is_left(box: Box) -> None:
    def descriptors() -> set[str]:
        return set(os.listdir("/proc/self/fd"))

    before: set[str] = set()

    def act(plan: RootPlan) -> None:
        before.update(descriptors())
        build(plan)

    def look(plan: RootPlan) -> object:
        extra = descriptors() - before
        return sorted(extra - {str(plan.proc_fd), str(plan.ns_last_pid_fd)})

    assert box.look(RootSpec(str(box.target())), look, act) == []
    assert box.look(RootSpec("/"), look, act) == []


def test_devices_work(box: Box) -> None:
    def look(_: RootPlan) -> object:
        Path("/dev/null").write_text("x")
        with open("/dev/zero", "rb") as zero:
            zeroes = zero.read(3)
        full = os.open("/dev/full", os.O_WRONLY)
        master, slave = pty.openpty()
        return [
            zeroes == bytes(3),
            refused(errno.ENOSPC, lambda: os.write(full, b"x")),
            os.ttyname(slave),
            os.isatty(master),
            [stat.S_ISREG(os.stat(f"/dev/{name}").st_mode) for name in ("random", "urandom")],
            {name: os.readlink(f"/dev/{name}") for name in ("fd", "stdin", "ptmx")},
            stat.S_IMODE(os.stat("/dev/shm").st_mode),
            sorted(os.listdir("/dev")),
        ]

    found = _list(box.look(RootSpec(str(box.target())), look))
    names = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert found == [
        True,
        True,
        "/dev/pts/0",
        True,
        [True, True],
        {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "ptmx": "pts/ptmx"},
        0o1777,
        names.split(),
    ]


def test_sys_of_the_host_comes_read_only_and_without_its_mounts(box: Box) -> None:
    root = box.target("etc")
    (root / "etc/resolv.conf").write_text("nameserver of-the-target\n")

    def look(_: RootPlan) -> object:
        ours = [options for point, options, _ in points() if point.startswith("/sys")]
        return [
            all("ro" in options.split(",") for options in ours),
            os.listdir("/sys/fs/cgroup"),
            Path("/sys/devices/system/cpu/online").read_text(),
            Path("/etc/resolv.conf").read_text(),
        ]

    found = _list(box.look(RootSpec(str(root), network="host"), look))
    assert found[:3] == [True, [], "0\n"]
    assert found[3] == Path("/etc/resolv.conf").read_text() != "nameserver of-the-target\n"


def test_a_partly_hidden_proc_around_us_is_explained(box: Box) -> None:
    def before() -> None:
        mount("none", "/", None, 0x4000 | 0x40000)
        mount("tmpfs", "/proc/bus", "tmpfs", 0, "")

    with pytest.raises(NsbuildError, match="cannot mount proc on /proc") as caught:
        box.look(RootSpec(str(box.target())), lambda _: None, before=before)
    assert "--security-opt unmask=ALL" in caught.value.hint


# Volumes and tmpfs


def test_volumes_and_tmpfs_in_order(box: Box) -> None:
    root, source = box.target(), box.target("sub")
    (source / "file").write_text("of the volume")
    box.own(source)
    spec = RootSpec(
        str(root),
        volumes=(
            Volume(str(source), "/tmp/v"),
            Volume(str(source), "/ro", read_only=True),
            Volume(str(source / "file"), "/tmp/v/sub/file"),
        ),
        tmpfs=(Tmpfs("/tmp/v/sub", "size=64k,mode=0711,noexec"), Tmpfs("/scratch")),
    )

    def look(_: RootPlan) -> object:
        Path("/tmp/v/made").write_text("x")
        return [
            refused(errno.EROFS, lambda: Path("/ro/x").write_text("x")),
            os.listdir("/tmp/v/sub"),
            oct(os.stat("/tmp/v/sub").st_mode)[-3:],
            os.statvfs("/tmp/v/sub").f_blocks * 4,
            oct(os.stat("/scratch").st_mode)[-4:],
        ]

    assert box.look(spec, look) == [True, [], "711", 64, "1777"]
    assert (source / "made").read_text() == "x"
    assert (root / "scratch").is_dir()


def test_a_volume_may_lie_in_the_target_and_below_run(box: Box) -> None:
    root = box.target("inner")
    (root / "inner/x").write_text("x")
    spec = RootSpec(str(root), volumes=(Volume(str(root / "inner"), "/run/a/b"),))
    assert box.look(spec, lambda _: os.listdir("/run/a/b")) == ["x"]


def test_bad_tmpfs_options_are_named(box: Box) -> None:
    spec = RootSpec(str(box.target()), tmpfs=(Tmpfs("/x", "size=1m,fancy=1"),))
    with pytest.raises(NsbuildError, match="cannot mount tmpfs on /x") as caught:
        box.look(spec, lambda _: None)
    assert "fancy=1" in caught.value.hint


# The host's root


def test_the_host_s_root_takes_writes_and_forgets_them(box: Box) -> None:
    marker = Path(tempfile.mkdtemp(prefix="nsbuild-rootfs-", dir="/var/tmp"))
    (marker / "file").write_text("old")
    box.own(marker)
    seen_on_host = sorted(os.listdir("/usr"))

    def look(_: RootPlan) -> object:
        (marker / "file").write_text("new")
        (marker / "other").mkdir()
        os.rename(marker / "file", marker / "moved")
        Path("/new-at-the-top").write_text("x")
        return [sorted(os.listdir("/usr")), sorted(os.listdir(marker))]

    try:
        assert box.look(RootSpec("/"), look) == [seen_on_host, ["moved", "other"]]
        assert [(path.name, path.read_text()) for path in marker.iterdir()] == [("file", "old")]
        assert not Path("/new-at-the-top").exists()
    finally:
        shutil.rmtree(marker)


def test_system_files_can_be_replaced_by_root_in_a_throw_away_root(box: Box) -> None:
    if box.uid:
        # One id: the files belong to nobody that exists inside.
        return
    before = Path("/etc/passwd").read_bytes()

    def look(_: RootPlan) -> object:
        Path("/etc/passwd.new").write_text("root:x:0:0::/:/bin/sh\n")
        os.rename("/etc/passwd.new", "/etc/passwd")
        os.chown("/etc/passwd", 1, 1)
        return Path("/etc/passwd").read_text()

    assert box.look(RootSpec("/"), look) == "root:x:0:0::/:/bin/sh\n"
    assert Path("/etc/passwd").read_bytes() == before


@pytest.mark.parametrize("where", ["/var/tmp", "/tmp", "/run"])
def test_the_working_directory_is_the_host_s_own(box: Box, where: str) -> None:
    cwd = Path(tempfile.mkdtemp(prefix="nsbuild-cwd-", dir=where))
    box.own(cwd)

    def look(_: RootPlan) -> object:
        Path(f"{cwd}/made").write_text("x")
        return len(os.listdir("/tmp"))

    try:
        found = box.look(RootSpec("/", writable_cwd=str(cwd)), look)
        assert found == (1 if where == "/tmp" else 0)
        assert (cwd / "made").read_text() == "x"
    finally:
        shutil.rmtree(cwd)


def test_other_mounts_of_the_host_are_seen_and_protected(box: Box) -> None:
    """Names with a colon, a comma and a backslash, which overlayfs takes for separators."""
    odd = box.place / "a:b,c\\d e"
    odd.mkdir()
    (box.place / "beside").write_text("beside")

    def before() -> None:
        mount("none", "/", None, 0x4000 | 0x40000)
        mount("tmpfs", str(odd), "tmpfs", 0x2, "mode=0777")
        (odd / "there").write_text("old")
        (odd / "there").chmod(0o666)
        box.own(odd)

    def look(_: RootPlan) -> object:
        (odd / "there").write_text("new")
        options = [options for point, options, _ in points() if "a:b" in point]
        return [(odd / "there").read_text(), (box.place / "beside").read_text(), *options]

    found = _list(box.look(RootSpec("/"), look, before=before))
    assert found[:2] == ["new", "beside"]
    assert len(found) == 3
    assert "nosuid" in str(found[2])


def test_a_read_only_host_root(box: Box) -> None:
    spec = RootSpec("/", writable_cwd=str(box.place), read_only=True)

    def look(_: RootPlan) -> object:
        Path(f"{box.place}/made").write_text("x")
        Path("/tmp/made").write_text("x")
        return [
            refused(errno.EROFS, lambda: os.mkdir("/usr/new")),
            refused(errno.EROFS, lambda: os.mkdir("/new")),
        ]

    assert box.look(spec, look) == [True, True]


def test_a_plan_is_quick(box: Box) -> None:
    """Far above what it takes (the plan's docstring says), far below what a start-up may."""
    root = box.target()
    spent = []

    def look(_: RootPlan) -> object:
        return time.perf_counter()

    for _ in range(5):
        start = 0.0

        def act(plan: RootPlan) -> None:
            nonlocal start
            start = time.perf_counter()
            build(plan)
            plan.operations.clear()

        def timed(plan: RootPlan) -> object:
            return time.perf_counter() - start

        took = box.look(RootSpec(str(root)), timed, act)
        assert isinstance(took, float)
        spent.append(took)
    assert min(spent) < 0.03, spent


def test_umount_is_refused_where_nothing_is_mounted(box: Box) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        umount2(str(box.place))
