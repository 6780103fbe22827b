"""The child that enters the namespaces: from the supervisor's fork to init's first instruction.

The user namespace comes first and by itself, because its maps are written from outside and because
the others are then owned by it. The time namespace only takes effect for children and its offsets
can be written only before the first one, which is why this process is not init itself.
"""

from __future__ import annotations

import os
import socket
import time
from typing import NoReturn

from nsbuild.container.init import Setup, run_init
from nsbuild.errors import NsbuildError
from nsbuild.kernel import namespaces as ns
from nsbuild.kernel.fuse import open_fuse
from nsbuild.supervisor.initlink import EVENT_MAPS, encode_error, send_event
from nsbuild.supervisor.served import SERVED

NAMESPACES = (
    ns.CLONE_NEWNS
    | ns.CLONE_NEWUTS
    | ns.CLONE_NEWIPC
    | ns.CLONE_NEWCGROUP
    | ns.CLONE_NEWPID
    | ns.CLONE_NEWTIME
)


def enter(setup: Setup) -> NoReturn:
    """Enter the namespaces and fork init as a child of *our* parent; exits 0, or 1 on an error."""
    try:
        if setup.own_users:
            _user_namespace(setup.requests, setup.events)
        _other_namespaces(setup.root.network == "host")
        fuse = _open_fuse()
        if ns.fork_as_sibling() == 0:
            run_init(setup._replace(fuse=fuse))
        setup.handover.note_pending()
    except NsbuildError as error:
        send_event(setup.events, encode_error(error))
        os._exit(1)
    os._exit(0)


def _user_namespace(requests: socket.socket, events: socket.socket) -> None:
    try:
        ns.unshare(ns.CLONE_NEWUSER)
    except OSError as error:
        raise NsbuildError.from_os(
            "cannot create a user namespace",
            error,
            "the kernel makes none in a chroot; see user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone and, on Ubuntu, "
            "kernel.apparmor_restrict_unprivileged_userns in sysctl",
        ) from error
    send_event(events, EVENT_MAPS)
    # The supervisor answers once the maps are written; its end means that it could not.
    if not requests.recv(1):
        os._exit(1)
    # The ids we have now may not be root's: unmapped ids show as 65534 until they are set.
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _other_namespaces(host_network: bool) -> None:
    flags = NAMESPACES if host_network else NAMESPACES | ns.CLONE_NEWNET
    try:
        ns.unshare(flags)
    except OSError as error:
        raise NsbuildError.from_os(
            "cannot create namespaces", error, "Linux 5.6 or later with time namespaces is needed"
        ) from error
    lines = []
    for name, clock in (("monotonic", time.CLOCK_MONOTONIC), ("boottime", time.CLOCK_BOOTTIME)):
        seconds, nanoseconds = divmod(-time.clock_gettime_ns(clock), 1_000_000_000)
        lines.append(f"{name} {seconds} {nanoseconds}\n")
    try:
        with open("/proc/self/timens_offsets", "w") as file:
            file.write("".join(lines))
    except OSError as error:
        raise NsbuildError.from_os("cannot set the time namespace's offsets", error) from error


def _open_fuse() -> dict[str, int]:
    """A /dev/fuse descriptor for each file that is served; empty where there is no FUSE.

    Opened here, because the kernel wants the user namespace that mounts to be the one that opened.
    """
    fuse: dict[str, int] = {}
    try:
        for name in SERVED:
            fuse[name] = open_fuse()
    except OSError:
        return {}
    return fuse
