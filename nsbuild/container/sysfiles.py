"""What the command sees in /sys: one processor, the loopback device, and otherwise nothing.

A directory of constant files stands in for the kernel's sysfs, which describes the host's hardware,
modules and limits in thousands of files. What programs that build look for there is here: the
processors, whether memory comes in huge pages, network devices, and empty directories in which they
find no block device, no NUMA node, no cgroup, no firmware tables.
"""

from __future__ import annotations

from nsbuild.container.machine import cpu_directory

_LOOPBACK = {
    "addr_assign_type": "0",
    "addr_len": "6",
    "address": "00:00:00:00:00:00",
    "broadcast": "00:00:00:00:00:00",
    "carrier": "1",
    "dev_id": "0x0",
    "dev_port": "0",
    "dormant": "0",
    "flags": "0x9",
    "group": "0",
    "ifalias": "",
    "ifindex": "1",
    "iflink": "1",
    "link_mode": "0",
    "mtu": "65536",
    "netdev_group": "0",
    "operstate": "unknown",
    "tx_queue_len": "1000",
    "type": "772",
    "uevent": "INTERFACE=lo\nIFINDEX=1",
}

_WIRE = {
    **_LOOPBACK,
    "addr_assign_type": "3",
    "broadcast": "ff:ff:ff:ff:ff:ff",
    "flags": "0x1003",
    "ifindex": "2",
    "mtu": "1500",
    "operstate": "up",
    "type": "1",
    "uevent": "INTERFACE=eth0\nIFINDEX=2",
}
"""The interface of a container in a network; see nsbuild.container.network."""

_HUGE_PAGES = {
    "defrag": "always defer defer+madvise [madvise] never",
    "enabled": "always [madvise] never",
    "hpage_pmd_size": "2097152",
    "shmem_enabled": "always within_size advise [never] deny force",
    "use_zero_page": "1",
}

_EMPTY = (
    *("block/", "bus/", "class/block/", "class/tty/", "dev/block/", "dev/char/"),
    *("devices/platform/", "devices/virtual/block/", "firmware/", "fs/cgroup/", "fs/fuse/"),
    *("kernel/debug/", "kernel/mm/hugepages/", "kernel/security/", "kernel/tracing/"),
    *("module/", "power/"),
)
"""Mount points and places where programs look for what is not there."""


def links(hardware: str = "") -> dict[str, str]:
    """Relative names of symbolic links in /sys and where they lead; `hardware` as below."""
    found = {}
    for name in ("lo", "eth0") if hardware else ("lo",):
        found[f"class/net/{name}"] = f"../../devices/virtual/net/{name}"
        found[f"devices/virtual/net/{name}/subsystem"] = "../../../../class/net"
    return found


def sys_directory(hardware: str = "") -> dict[str, str]:
    """/sys: relative file names and their texts; a name that ends in "/" is a directory.

    `hardware` is the hardware address of eth0, empty where there is none.
    """
    files = dict.fromkeys((*_EMPTY, "class/net/"), "")
    files.update({f"devices/system/cpu/{name}": text for name, text in cpu_directory().items()})
    files.update(
        {f"devices/virtual/net/lo/{name}": f"{text}\n" for name, text in _LOOPBACK.items()}
    )
    if hardware:
        number = str(1000 + int(hardware.rpartition(":")[2], 16))
        wire = {**_WIRE, "address": hardware, "iflink": number}
        files.update({f"devices/virtual/net/eth0/{key}": f"{text}\n" for key, text in wire.items()})
    files.update(
        {
            f"kernel/mm/transparent_hugepage/{name}": f"{text}\n"
            for name, text in _HUGE_PAGES.items()
        }
    )
    return files
