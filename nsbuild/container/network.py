"""A network of containers: a bridge in a network namespace, and a wire from there into each.

That namespace, the hub, is made by the first container of a network that starts, and the fronts of
all its containers live in it, with the supervisors, so the kernel takes it away, the bridge and all
wires with it, when the last of them has ended, however that was. It has no address and no device of
the host's, and so there is nobody in it but the containers. Each of those has one interface, eth0,
whose address follows from its number in the network, and whose hardware address from that.

pyroute2 is imported where it is needed: that takes as long as starting the rest of a container.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from nsbuild.errors import NsbuildError
from nsbuild.kernel import namespaces as ns
from nsbuild.kernel.files import setns

if TYPE_CHECKING:
    from pyroute2 import IPRoute

PRIVATE = "private"
SUBNET = "10.88.0"
PREFIX = 24
"""Bits of an address that all containers of a network have in common."""
NUMBERS = range(2, 255)
"""What containers are numbered with: 1 is a gateway elsewhere, and 255 all of them."""
INTERFACE = "eth0"
_BRIDGE = "nsbuild0"
_FIRST_WIRE = 1000
"""The hub's interface numbers, which a container sees as its link's other end, begin here."""

_SOON = 10.0
"""Seconds in which the kernel has done what it does on its own time."""


def is_private(network: str) -> bool:
    """Whether `network`, as --network gives it, is one of containers."""
    return network.partition(":")[0] == PRIVATE


def address_of(number: int) -> str:
    """The address of the container with that number."""
    return f"{SUBNET}.{number}"


def hardware_address(address: str) -> str:
    """The one that goes with an address: locally administered, as Docker makes them."""
    return "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def check_rights() -> None:
    """NsbuildError for who cannot make a network."""
    if os.geteuid():
        raise NsbuildError(
            "--network=private is for root: an ordinary user's containers have nothing in common "
            "that could hold a bridge"
        )


def enter_hub(candidates: list[int]) -> None:
    """Be in the hub that one of the `candidates`, open network namespaces, is; else in a new one.

    The caller sees to it that nobody else does the same at the same time. Raises NsbuildError.
    """
    try:
        for namespace in candidates:
            setns(namespace, ns.CLONE_NEWNET)
            with contextlib.suppress(OSError):
                socket.if_nametoindex(_BRIDGE)
                return
        ns.unshare(ns.CLONE_NEWNET)
        _without_ipv6("default")
        with _netlink() as link:
            link.link(
                "add",
                ifname=_BRIDGE,
                kind="bridge",
                # Nothing of its own is to be heard on the wires, and nothing to be waited for.
                br_stp_state=0,
                br_forward_delay=0,
                br_mcast_snooping=0,
            )
            link.link("set", index=socket.if_nametoindex(_BRIDGE), state="up")
    except (OSError, _refusal()) as error:
        raise NsbuildError(
            f"cannot make the bridge of a network: {os.strerror(error.args[0])}",
            "CAP_NET_ADMIN and the kernel's bridge and veth are needed",
        ) from error


def plug_in(pid: int, address: str) -> None:
    """Lay a wire from the hub, in which we are, to the container with the init `pid`.

    The interface's numbers and addresses are the same at every start. Raises NsbuildError.
    """
    number = int(address.rpartition(".")[2])
    wire = f"member{number}"
    try:
        with _netlink() as link:
            # The kernel is in no hurry to take that of a container away that has ended.
            with contextlib.suppress(OSError, _refusal()):
                link.link("del", index=_FIRST_WIRE + number)
            link.link(
                "add",
                ifname=wire,
                kind="veth",
                index=_FIRST_WIRE + number,
                peer={
                    "ifname": INTERFACE,
                    "address": hardware_address(address),
                    "net_ns_pid": pid,
                },
            )
            _set_up_inside(pid, address)
            link.link("set", index=_FIRST_WIRE + number, state="up")
            _await_carrier(link, _FIRST_WIRE + number)
            bridge = socket.if_nametoindex(_BRIDGE)
            link.link("set", index=_FIRST_WIRE + number, master=bridge)
    except (OSError, _refusal()) as error:
        raise NsbuildError(
            f"cannot connect the container to its network: {os.strerror(error.args[0])}"
        ) from error


def _set_up_inside(pid: int, address: str) -> None:
    hub = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(theirs, ns.CLONE_NEWNET)
        # It would look for neighbours by itself, at times of its own.
        _without_ipv6(INTERFACE)
        with _netlink() as link:
            index = socket.if_nametoindex(INTERFACE)
            link.addr("add", index=index, address=address, prefixlen=PREFIX)
            link.link("set", index=index, state="up")
    finally:
        setns(hub, ns.CLONE_NEWNET)
        os.close(hub)
        os.close(theirs)


def _await_carrier(link: IPRoute, index: int) -> None:
    """Wait until the kernel has noticed that both ends of a wire are up.

    It does so in a task of its own, and a bridge passes nothing on from a wire before.
    """
    end = time.monotonic() + _SOON
    while next(iter(link.get_links(index))).get_attr("IFLA_OPERSTATE") != "UP":
        if time.monotonic() > end:
            raise TimeoutError(errno.ETIMEDOUT, "the wire does not come up")
        time.sleep(0.001)


def _without_ipv6(interface: str) -> None:
    # Without IPv6 in the kernel there is no such file.
    path = f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"
    with contextlib.suppress(FileNotFoundError), open(path, "w") as file:
        file.write("1")


def _netlink() -> IPRoute:
    try:
        from pyroute2 import IPRoute
    except ImportError as error:
        raise NsbuildError(
            "a network of containers needs Python's pyroute2",
            "Debian's python3-pyroute2, or pip install 'nsbuild[network]'",
        ) from error
    return IPRoute()


def _refusal() -> type[Exception]:
    """What pyroute2 raises for an errno of the kernel's."""
    try:
        from pyroute2 import NetlinkError
    except ImportError:
        return OSError
    refusal: type[Exception] = NetlinkError
    return refusal
