"""The root of a chroot(1): a directory as it stands, with as little changed as repeating takes.

What is mounted below it stays visible and what is written into it stays there. Nothing is made in
it. Three things are covered where they are: a /proc, which would show the caller's processes and
not ours, a /sys, and the random devices (see init). Where there is no /proc the command has none
either; ours is mounted aside then.

Without a user namespace all this is the business of the caller's root, so that mknod(2), mounts and
whatever else a chroot does as root work in it as they do in a plain one.
"""

from __future__ import annotations

from nsbuild.container.filesystems import KeepLastPid, MountProc, MountProcAside
from nsbuild.container.hostview import Host
from nsbuild.container.operations import AttachRoot, CloneRoot, MakePrivate, PivotRoot, Stage
from nsbuild.container.rootfs import RootPlan, constant_sys, cover_proc, staging_place
from nsbuild.container.spec import RootSpec
from nsbuild.kernel.statfs import PROC_SUPER_MAGIC, SYSFS_MAGIC


def plan_in_place(spec: RootSpec, host: Host | None = None) -> RootPlan:
    """Decide what is done to the target; it is a directory."""
    host = host or Host()
    plan = RootPlan()
    root = plan.root
    steps = plan.operations
    steps.append(MakePrivate(root))
    # Before the staging directory is there, which would be in the root if that is /.
    steps.append(CloneRoot(root, spec.target))
    steps.append(Stage(root, staging_place(["/dev", "/proc", *host.own_places()], host)))
    steps.append(AttachRoot(root))
    shown = _is(host, f"{spec.target}/proc", PROC_SUPER_MAGIC)
    steps.append(MountProc(root) if shown else MountProcAside(root))
    steps.append(KeepLastPid(root))
    if shown:
        steps.append(cover_proc(root, spec, host))
    if _is(host, f"{spec.target}/sys", SYSFS_MAGIC):
        steps.append(constant_sys(root))
    steps.append(PivotRoot(root))
    return plan


def _is(host: Host, path: str, kind: int) -> bool:
    """Whether `path` is a directory on a file system of that kind."""
    return host.kind(path) == "directory" and host.file_system(path) == kind
