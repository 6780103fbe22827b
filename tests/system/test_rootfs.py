"""A target directory as the root, seen from inside, as root and as a user with one id."""

from __future__ import annotations

import errno
import os
import pty
import stat
import time
from pathlib import Path

import pytest

from nsbuild.container.rootfs import RootPlan, created_mountpoints, plan_root
from nsbuild.container.spec import Identity, RootSpec, Tmpfs, Volume
from nsbuild.errors import NsbuildError
from nsbuild.kernel.mount import MS_BIND, MS_NODEV, MS_NOSUID, MS_PRIVATE, MS_REC, MS_REMOUNT, mount
from tests.system.rootbox import Act, Box, as_list, box, build, listing, outcome, points, refused

__all__ = ["box"]


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

    cwd, names, outside, pid = as_list(box.look(RootSpec(str(root)), look))
    assert (cwd, outside, pid) == ("/", False, 1)
    assert sorted(str(name) for name in as_list(names)) == [
        "dev",
        "only-here",
        "proc",
        "run",
        "sys",
        "tmp",
    ]


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
    with pytest.raises(NsbuildError, match=r"cannot bind .* on /gone: Read-only file system"):
        box.look(spec._replace(volumes=(Volume(str(source), "/gone"),)), look)


def test_a_read_only_target_keeps_the_locked_flags(box: Box) -> None:
    root = box.target()

    def before() -> None:
        # Inherited by a user namespace, nosuid and nodev are locked: clearing them is EPERM.
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount(str(root), str(root), None, MS_BIND)
        flags = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV
        mount("none", str(root), None, flags)

    seen = box.look(RootSpec(str(root), read_only=True), lambda _: points()[0], before=before)
    assert as_list(seen)[0] == "/"
    assert str(as_list(seen)[1]).split(",")[:3] == ["ro", "nosuid", "nodev"]


def test_mounts_below_the_target_come_along(box: Box) -> None:
    root = box.target("data")

    def before() -> None:
        mount("none", "/", None, MS_REC | MS_PRIVATE)
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
    for name in made:
        os.rmdir(name)


def test_killed_at_any_moment_it_leaves_nothing(box: Box) -> None:
    root = box.target("etc")
    (root / "etc/machine-id").write_text("")
    spec = RootSpec(str(root), volumes=(Volume(str(box.place), "/home"),))
    (root / "home").mkdir()
    before = listing(box.place)

    for count in range(len(plan_root(spec)) + 1):
        assert box.look(spec, lambda _: "alive", dies_after(count)) is None
    assert listing(box.place) == before


def dies_after(count: int) -> Act:
    """Do `count` operations and be gone.

    No signal, because the init of a PID namespace is deaf to its own; to the kernel, which takes
    the mounts down, an exit is the same.
    """

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

    with pytest.raises(NsbuildError, match=f"on /{name}.*: Too many levels") as caught:
        box.look(RootSpec(str(root)), lambda _: None, act)
    assert caught.value.hint == f"/{name} of the target must be an ordinary directory"


@pytest.mark.parametrize("link", ["/etc", "../../../../../../../../etc", "etc"])
def test_a_link_for_tmp_leads_no_further_than_the_root(box: Box, link: str) -> None:
    root = box.target("etc")
    (root / "tmp").rmdir()
    (root / "tmp").symlink_to(link)
    seen = box.look(RootSpec(str(root)), lambda _: [point for point, _, _ in points()])
    assert "/etc" in as_list(seen)
    assert "/tmp" not in as_list(seen)


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
    cpuinfo, *rest = as_list(box.look(spec, look))
    assert str(cpuinfo).count("processor\t:") == 1
    assert rest == ["9.9-test\n", "abcd\n", "0\n", "0.00 0.00 0.00 1/1 2\n", True]
    assert (root / "etc/machine-id").read_text() == "ffff\n"
    assert os.cpu_count() == 1 or Path("/proc/cpuinfo").read_text().count("processor\t:") > 1


def test_the_kernel_s_own_settings_are_out_of_reach(box: Box) -> None:
    spec = RootSpec(str(box.target()))

    def write(path: str) -> str:
        return outcome(lambda: os.open(path, os.O_WRONLY))

    def look(_: RootPlan) -> object:
        kcore = os.path.exists("/proc/kcore") and os.stat("/proc/kcore").st_size > 0
        return [
            write("/proc/sys/kernel/core_pattern"),
            write("/proc/sys/kernel/ns_last_pid"),
            write("/proc/sys/kernel/hostname"),
            write("/sys/kernel/mm/transparent_hugepage/enabled"),
            kcore,
            Path("/proc/timer_list").read_text(),
        ]

    # The host's root owns the name's file: as that user, only the read-only mount stops a write.
    why = "EACCES" if box.uid else "EROFS"
    assert box.look(spec, look) == ["EROFS", "EROFS", why, "EROFS", False, ""]


def test_an_unknown_entry_of_proc_is_covered(box: Box) -> None:
    """What this test's kernel has and no list names: by default it is empty, and cannot be written.

    /proc itself is compared with the uncovered one that init keeps.
    """
    spec = RootSpec(str(box.target()))

    def look(plan: RootPlan) -> object:
        flags = os.O_RDONLY | os.O_DIRECTORY
        bare = os.open(".", flags, dir_fd=plan.proc_fd)
        names = [name for name in os.listdir(bare) if not name.isdigit()]
        shown = []
        for name in sorted(names):
            same = os.lstat(name, dir_fd=bare).st_dev == os.lstat(f"/proc/{name}").st_dev
            if same and not os.path.islink(f"/proc/{name}"):
                shown.append(name)
        return [shown, sorted(set(os.listdir("/proc"))) == sorted(set(os.listdir(bare)))]

    assert box.look(spec, look) == [["sysvipc"], True]


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
        # Without the one that the listing itself takes.
        listed = os.listdir("/proc/self/fd")
        return {fd for fd in listed if os.path.lexists(f"/proc/self/fd/{fd}")}

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
            # They are the host's, which a build's root must not change.
            refused(errno.EROFS, lambda: os.chmod("/dev/null", 0o666)),
            os.ttyname(slave),
            os.isatty(master),
            [stat.S_ISREG(os.stat(f"/dev/{name}").st_mode) for name in ("random", "urandom")],
            {name: os.readlink(f"/dev/{name}") for name in ("fd", "stdin", "ptmx")},
            stat.S_IMODE(os.stat("/dev/shm").st_mode),
            sorted(os.listdir("/dev")),
        ]

    found = as_list(box.look(RootSpec(str(box.target())), look))
    names = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert found == [
        True,
        True,
        True,
        "/dev/pts/0",
        True,
        [True, True],
        {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "ptmx": "pts/ptmx"},
        0o1777,
        names.split(),
    ]


def test_network_of_the_host_with_its_settings_and_resolver(box: Box) -> None:
    root = box.target("etc")
    (root / "etc/resolv.conf").write_text("nameserver of-the-target\n")
    setting = "/proc/sys/net/ipv4/tcp_mem"

    def look(_: RootPlan) -> object:
        ours = [options for point, options, _ in points() if point.startswith(("/sys", "/proc/"))]
        return [
            all("ro" in options.split(",") for options in ours),
            os.listdir("/sys/fs/cgroup"),
            os.listdir("/sys/class/net"),
            Path("/etc/resolv.conf").read_text(),
            Path(setting).read_text(),
        ]

    found = as_list(box.look(RootSpec(str(root), network="host"), look))
    assert found[:3] == [True, [], ["lo"]]
    assert found[3] == Path("/etc/resolv.conf").read_text() != "nameserver of-the-target\n"
    alone = as_list(box.look(RootSpec(str(root)), look))
    assert found[4] == Path(setting).read_text() != alone[4]


def test_the_host_s_resolver_through_a_dangling_link(box: Box) -> None:
    root = box.target("etc")
    (root / "etc/resolv.conf").symlink_to("../run/resolver/stub.conf")

    def look(_: RootPlan) -> object:
        return Path("/run/resolver/stub.conf").read_text()

    text = box.look(RootSpec(str(root), network="host"), look)
    assert text == Path("/etc/resolv.conf").read_text()
    assert list((root / "run").iterdir()) == []


def test_the_caller_s_umask_hides_nothing(box: Box) -> None:
    root = box.target()

    def act(plan: RootPlan) -> None:
        os.umask(0o077)
        build(plan)

    def look(_: RootPlan) -> object:
        paths = ("/proc/cpuinfo", "/proc/acpi", "/dev/urandom", "/sys/devices/system/cpu/online")
        return [oct(os.stat(path).st_mode)[-3:] for path in paths if os.path.exists(path)]

    modes = as_list(box.look(RootSpec(str(root)), look, act))
    assert set(map(str, modes)) <= {"444", "755"}
    assert "444" in modes


def test_a_partly_hidden_proc_around_us_is_explained(box: Box) -> None:
    def before() -> None:
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("tmpfs", "/proc/bus", "tmpfs", 0, "")

    with pytest.raises(NsbuildError, match="cannot mount proc on /proc") as caught:
        box.look(RootSpec(str(box.target())), lambda _: None, before=before)
    assert "--security-opt unmask=ALL" in caught.value.hint


# Volumes and tmpfs


def test_volumes_and_tmpfs_outer_ones_first(box: Box) -> None:
    """A tmpfs in a volume, and a volume in that tmpfs; each option by itself is in its order."""
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
            Path("/tmp/v/sub/file").read_text(),
            oct(os.stat("/tmp/v/sub").st_mode)[-3:],
            os.statvfs("/tmp/v/sub").f_blocks * 4,
            oct(os.stat("/scratch").st_mode)[-4:],
        ]

    assert box.look(spec, look) == [True, ["file"], "of the volume", "711", 64, "1777"]
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


def test_a_plan_is_quick(box: Box) -> None:
    """Far above what it takes (the plan's docstring says), far below what a start-up may."""
    root = box.target()
    spent = []

    def act(plan: RootPlan) -> None:
        start = time.perf_counter()
        build(plan)
        spent.append(time.perf_counter() - start)

    took = [box.look(RootSpec(str(root)), lambda _: spent[0], act) for _ in range(5)]
    assert min(seconds for seconds in took if isinstance(seconds, float)) < 0.03, took
