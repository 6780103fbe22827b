"""Which operations make the root that a `RootSpec` asks for, and in which order.

`plan_root` looks at the host and decides; nothing happens until the operations are done, in order,
by the init of the container's PID namespace in its own mount namespace. Afterwards that process is
in the new root, and the mounts that made it are gone with its mount namespace, however it ends.

What it costs, least of nine runs on a busy 2-core virtual machine, freshly forked: a target
directory 1.3 ms to plan and 5.0 ms to do (32 operations), the host's root 1.9 and 8.3 ms (57).
Most of the planning is what the first use of a page costs after a fork; a second plan takes 0.3 ms.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from nsbuild.container import cpumodel
from nsbuild.container.cover import ConstantSys, CoverProc
from nsbuild.container.filesystems import KeepLastPid, Mount, MountDevpts, MountProc
from nsbuild.container.hostroot import FRESH, TIME_BASED_UUIDS, Overlay, plan_host_root
from nsbuild.container.hostview import Host
from nsbuild.container.inside import INERT, Rootfs
from nsbuild.container.layers import KeepApart, Layered, LayersRoot, MakeWorkdir, check_layers
from nsbuild.container.machine import identity_files, machine_files
from nsbuild.container.network import hardware_address
from nsbuild.container.operations import (
    Bind,
    BindRoot,
    FreezeRoot,
    MakeDirectory,
    MakeFile,
    MakePrivate,
    Operation,
    PivotRoot,
    ProvideConstant,
    Stage,
    Symlink,
    TmpfsRoot,
    WriteConstant,
)
from nsbuild.container.procfiles import DIRECTORIES, KEPT, kernel_files
from nsbuild.container.spec import RootSpec, Tmpfs, Volume
from nsbuild.container.sysctls import NAMES_OF_UTS, sysctl_directory
from nsbuild.container.sysfiles import links, sys_directory
from nsbuild.errors import NsbuildError
from nsbuild.kernel.mount import (
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
)

DEVICES = ("null", "zero", "full", "tty")
_DEVICE = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
KERNELS = ("/proc", "/sys", "/dev")
"""Directories that the container gets its own of, whatever is asked for."""
SERVED_DEVICES = ("random", "urandom")
"""Made as empty files: the mount points of what answers them."""

_STAGING_PLACES = ("/run", "/tmp", "/mnt", "/srv", "/media", "/opt", "/home", "/sys")

_SCRATCH_ATTRIBUTES = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
_TMPFS_ATTRIBUTES = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
    "noatime": MOUNT_ATTR_NOATIME,
    "nodiratime": MOUNT_ATTR_NODIRATIME,
}
_TMPFS_DEFAULTS = frozenset(("rw", "suid", "dev", "exec", "relatime"))


class RootPlan:
    """The operations in order, and the `Rootfs` that they share."""

    __slots__ = ("operations", "root")

    def __init__(self) -> None:
        self.root = Rootfs()
        self.operations: list[Operation] = []

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    @property
    def proc_fd(self) -> int:
        """See `Rootfs`."""
        return self.root.proc_fd

    @property
    def ns_last_pid_fd(self) -> int:
        """See `Rootfs`."""
        return self.root.ns_last_pid_fd


def plan_root(spec: RootSpec, host: Host | None = None) -> RootPlan:
    """Decide how to build the root; raises NsbuildError where it cannot be built."""
    host = host or _host(spec)
    plan = RootPlan()
    steps = plan.operations
    target = _target(spec, host)
    missing = _missing(spec, target, host)
    steps.append(MakePrivate(plan.root))
    steps.append(Stage(plan.root, staging_place(_used(spec, target, host), host)))
    if spec.layers:
        steps.append(LayersRoot(plan.root, spec.layers, target, spec.work))
        steps.extend(MakeDirectory(plan.root, path) for path in missing)
    elif target == "/":
        steps.extend(_host_root(plan.root, spec, host))
    else:
        steps.append(BindRoot(plan.root, target, spec.read_only))
        steps.extend(MakeDirectory(plan.root, path) for path in missing)
    steps.append(MountProc(plan.root))
    steps.append(KeepLastPid(plan.root))
    steps.append(cover_proc(plan.root, spec, host))
    steps.append(constant_sys(plan.root, spec.address))
    steps.extend(_dev(plan.root, host))
    if spec.scratch:
        steps.extend(_scratch(plan.root, target, host))
    steps.extend(_files(plan.root, spec, target, host))
    steps.extend(_asked(plan.root, spec, target, host))
    if spec.layers and spec.read_only:
        steps.append(FreezeRoot(plan.root, ("/",)))
    steps.append(PivotRoot(plan.root))
    return plan


def created_mountpoints(spec: RootSpec, host: Host | None = None) -> list[str]:
    """Host paths of the mount points that the plan makes in the target directory.

    They are for the caller to remove (rmdir(2), which spares one that is no longer empty) once the
    container is gone.
    """
    host = host or _host(spec)
    target = _target(spec, host)
    # What the upper directory of an overlay holds is the container's.
    return [] if spec.layers else [target + path for path in _missing(spec, target, host)]


def _host(spec: RootSpec) -> Host:
    return Layered(spec.layers, os.path.realpath(spec.target)) if spec.layers else Host()


def _target(spec: RootSpec, host: Host) -> str:
    """The target directory without symbolic links."""
    if spec.layers:
        check_layers(spec.layers, spec.target, spec.work)
    try:
        host.check_directory(spec.target)
    except OSError as error:
        raise NsbuildError.from_os(f"cannot use {spec.target!r} as the root", error) from error
    return host.real(spec.target)


def _missing(spec: RootSpec, target: str, host: Host) -> list[str]:
    """The standard mount points that a target directory lacks."""
    if target == "/":
        return []
    missing = []
    for path in FRESH if spec.scratch else KERNELS:
        kind = host.kind(target + path)
        if not kind:
            missing.append(path)
        elif kind != "directory" and (kind != "link" or path in ("/proc", "/sys", "/dev")):
            # A link may lead /tmp or /run to another directory of the root. The others hold the
            # masks, and must be where their paths say.
            raise NsbuildError(
                f"cannot mount on {target}{path}: it is a {kind} rather than a directory",
                f"replace it by an empty directory: the container gets a {path} of its own",
            )
    if missing and not spec.layers and (spec.read_only or host.is_read_only(target)):
        names = " ".join(target + path for path in missing)
        raise NsbuildError(
            f"cannot mount on {missing[0]} in {target}: the directory is missing and the root is "
            "read-only",
            f"mkdir {names}",
        )
    return missing


def _used(spec: RootSpec, target: str, host: Host) -> list[str]:
    """The host paths that the plan takes something from."""
    used = [target, "/dev", host.real("/etc/resolv.conf"), *host.own_places()]
    used.extend(map(host.real, (*spec.layers, *filter(None, (spec.work,)))))
    used.extend(host.real(volume.source) for volume in spec.volumes)
    if target == "/":
        used.extend(f"/{name}" for name in host.directories("/") if f"/{name}" not in FRESH)
        used.append(spec.writable_cwd or "/")
    return used


def staging_place(used: list[str], host: Host) -> str:
    """A host directory that may be hidden while the root is built: nothing of `used` lies in it.

    A new directory would outlive a kill.
    """
    for place in _STAGING_PLACES:
        inside = any(path == place or path.startswith(f"{place}/") for path in used)
        if not inside and host.kind(place) == "directory":
            return place
    raise NsbuildError(
        "cannot find a directory to stage the root in: each of "
        f"{' '.join(_STAGING_PLACES)} is missing or in use by a volume",
        "make one of them, or bind fewer of them",
    )


def _host_root(root: Rootfs, spec: RootSpec, host: Host) -> Iterator[Operation]:
    yield TmpfsRoot(root)
    operations = plan_host_root(root, host)
    yield from operations
    if spec.cpu_model == cpumodel.BASELINE and host.kind("/etc") == "directory":
        yield ProvideConstant(root, cpumodel.GCRYPT_DENIED, cpumodel.GCRYPT_TEXT)
    if host.kind(TIME_BASED_UUIDS) == "directory":
        yield Mount(root, "tmpfs", TIME_BASED_UUIDS, {"mode": "2775"}, _SCRATCH_ATTRIBUTES)
    if spec.read_only:
        overlays = (operation.path for operation in operations if isinstance(operation, Overlay))
        yield FreezeRoot(root, ("/", *overlays))


def cover_proc(root: Rootfs, spec: RootSpec, host: Host) -> Operation:
    """Puts the constant files over those of the container's /proc that differ."""
    baseline = spec.cpu_model == cpumodel.BASELINE
    processor = cpumodel.CPUINFO if baseline else host.cpuinfo()
    files = {**kernel_files(), **machine_files(spec.identity, spec.boot_time, processor)}
    directories = {**DIRECTORIES, "sys": sysctl_directory(spec.identity)}
    live = (*NAMES_OF_UTS, "net") if spec.network == "host" else NAMES_OF_UTS
    return CoverProc(root, files, directories, KEPT, tuple(f"sys/{name}" for name in live))


def constant_sys(root: Rootfs, address: str = "") -> Operation:
    """The /sys that is the same everywhere, with an interface for who has an `address`."""
    hardware = hardware_address(address) if address else ""
    return ConstantSys(root, sys_directory(hardware), links(hardware))


def _dev(root: Rootfs, host: Host) -> Iterator[Operation]:
    yield Mount(root, "tmpfs", "/dev", {"mode": "0755"}, MOUNT_ATTR_NOSUID, ordinary=True)
    for name in DEVICES:
        if host.exists(f"/dev/{name}"):
            yield MakeFile(root, f"/dev/{name}")
            # The inode is the host's, for a build's root to chmod(2) unless the mount is read-only,
            # which has no effect on reading and writing the device. The others of these flags some
            # hosts have, where they cannot be cleared, and /proc/mounts shows them.
            yield Bind(root, f"/dev/{name}", f"/dev/{name}", read_only=True, attributes=_DEVICE)
    for name in SERVED_DEVICES:
        yield MakeFile(root, f"/dev/{name}")
    yield Symlink(root, "/dev/fd", "/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        yield Symlink(root, f"/dev/{name}", f"/proc/self/fd/{number}")
    yield Symlink(root, "/dev/ptmx", "pts/ptmx")
    for name in ("pts", "shm", "mqueue"):
        yield MakeDirectory(root, f"/dev/{name}")
    yield MountDevpts(root)
    yield Mount(root, "tmpfs", "/dev/shm", {"mode": "1777"}, INERT)
    yield Mount(root, "mqueue", "/dev/mqueue", {}, INERT)


def _scratch(root: Rootfs, target: str, host: Host) -> Iterator[Operation]:
    yield Mount(root, "tmpfs", "/tmp", {"mode": "1777"}, _SCRATCH_ATTRIBUTES, create=True)
    yield Mount(root, "tmpfs", "/run", {"mode": "0755"}, _SCRATCH_ATTRIBUTES, create=True)
    lock = os.path.join(target, "var/lock")
    if (
        host.kind(lock) == "link"
        and os.path.normpath(os.path.join("/var", host.link(lock))) == "/run/lock"
    ):
        yield MakeDirectory(root, "/run/lock", 0o1777)


def _files(root: Rootfs, spec: RootSpec, target: str, host: Host) -> Iterator[Operation]:
    """Constant and host files over those of the target."""
    files = identity_files(spec.identity, spec.network)
    if spec.cpu_model == cpumodel.BASELINE and target != "/":
        files[cpumodel.GCRYPT_DENIED] = cpumodel.GCRYPT_TEXT
    for path, text in files.items():
        if host.kind(target.rstrip("/") + path):
            yield WriteConstant(root, path, text, optional=True)
    resolver = "/etc/resolv.conf"
    if spec.hosts:
        yield Bind(root, spec.hosts, "/etc/hosts", read_only=True)
    shared = spec.network == "host" and spec.resolver
    if shared and host.exists(resolver) and host.kind(f"{target}{resolver}"):
        # The target's own may be a link into /run, where the plan has put an empty tmpfs.
        yield Bind(root, host.real(resolver), resolver, read_only=True)


def _asked(root: Rootfs, spec: RootSpec, target: str, host: Host) -> Iterator[Operation]:
    """What the command line asks for by name, in its order but for what lies below another."""
    cwd = spec.writable_cwd
    if target == "/" and cwd and cwd != "/":
        yield Bind(root, cwd, cwd)
    for volume in spec.kept:
        yield KeepApart(root, volume.target, volume.source)
    mounts: list[Volume | Tmpfs] = [*spec.volumes, *spec.tmpfs]
    for mount in sorted(mounts, key=_depth):
        if isinstance(mount, Tmpfs):
            options, attributes = _tmpfs_options(mount)
            yield Mount(root, "tmpfs", mount.target, options, attributes, create=True)
        else:
            yield _bind(root, mount, host)
    if spec.workdir:
        yield MakeWorkdir(root, spec.workdir)


def _depth(mount: Volume | Tmpfs) -> int:
    return os.path.normpath(mount.target).count("/")


def _bind(root: Rootfs, volume: Volume, host: Host) -> Bind:
    source = host.real(volume.source)
    if not host.exists(source):
        raise NsbuildError(
            f"cannot bind {volume.source!r} on {volume.target}: No such file or directory",
            "the source of a volume must exist",
        )
    return Bind(root, source, volume.target, volume.read_only)


def _tmpfs_options(tmpfs: Tmpfs) -> tuple[dict[str, str | None], int]:
    """Split the options of --tmpfs into the file system's own and the mount's."""
    options: dict[str, str | None] = {"mode": "1777"}
    attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
    for option in filter(None, tmpfs.options.split(",")):
        key, equals, value = option.partition("=")
        if option in _TMPFS_ATTRIBUTES:
            attributes |= _TMPFS_ATTRIBUTES[option]
        elif option in _TMPFS_DEFAULTS:
            attributes &= ~_TMPFS_ATTRIBUTES.get(f"no{option}", 0)
        else:
            options[key] = value if equals else None
    return options, attributes
