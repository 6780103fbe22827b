"""The machine that the command sees: text for the files that describe it, the same on every host.

One processor, number 0, and an identity that does not change. Nothing here acts: the functions
return file names and texts, `rootfs` decides where they go and `operations` mounts them.
"""

from __future__ import annotations

from nsbuild.container.spec import Identity

# /proc/cpuinfo without the `flags` line. Frequency, bogomips, microcode, cache and APIC numbers are
# what a host's are never equal in; the constants are within what programs that parse them expect.
_CPUINFO = """\
processor\t: 0
vendor_id\t: {vendor}
cpu family\t: 6
model\t\t: 15
model name\t: nsbuild virtual CPU
stepping\t: 0
microcode\t: 0x1
cpu MHz\t\t: 1000.000
cache size\t: 1024 KB
physical id\t: 0
siblings\t: 1
core id\t\t: 0
cpu cores\t: 1
apicid\t\t: 0
initial apicid\t: 0
fpu\t\t: yes
fpu_exception\t: yes
cpuid level\t: 13
wp\t\t: yes
flags\t\t: {flags}
bugs\t\t:
bogomips\t: 2000.00
clflush size\t: 64
cache_alignment\t: 64
address sizes\t: 48 bits physical, 48 bits virtual
power management:

"""

_TOPOLOGY = {
    "cluster_cpus": "1",
    "cluster_cpus_list": "0",
    "cluster_id": "0",
    "core_cpus": "1",
    "core_cpus_list": "0",
    "core_id": "0",
    "core_siblings": "1",
    "core_siblings_list": "0",
    "die_cpus": "1",
    "die_cpus_list": "0",
    "die_id": "0",
    "package_cpus": "1",
    "package_cpus_list": "0",
    "physical_package_id": "0",
    "thread_siblings": "1",
    "thread_siblings_list": "0",
}


def cpuinfo(host_cpuinfo: str) -> str:
    """/proc/cpuinfo with one processor, derived from the host's.

    The first processor's `vendor_id` and `flags` are the only lines kept from the host: programs
    choose their code by them, and an invented flag would make them die of SIGILL. A build whose
    result depends on the flags therefore still depends on the host's processor.
    """
    kept = {"vendor_id": "GenuineIntel", "flags": ""}
    for line in host_cpuinfo.split("\n\n", 1)[0].splitlines():
        key, _, value = line.partition(":")
        if key.strip() in kept:
            kept[key.strip()] = value.strip()
    return _CPUINFO.format(vendor=kept["vendor_id"], flags=kept["flags"])


def cpu_directory() -> dict[str, str]:
    """/sys/devices/system/cpu with one processor: relative file names and their texts."""
    files = {
        "online": "0\n",
        "possible": "0\n",
        "present": "0\n",
        # The kernel prints an empty line for an empty mask.
        "offline": "\n",
        "isolated": "\n",
        "kernel_max": "0\n",
        "smt/active": "0\n",
        "smt/control": "notsupported\n",
    }
    files.update({f"cpu0/topology/{name}": f"{text}\n" for name, text in _TOPOLOGY.items()})
    return files


def stat(boot_time: int) -> str:
    """/proc/stat: one processor that has done nothing, booted at `boot_time` (Unix seconds)."""
    idle = " 0" * 10
    return (
        f"cpu {idle}\ncpu0{idle}\nintr 0\nctxt 0\nbtime {boot_time}\n"
        f"processes 1\nprocs_running 1\nprocs_blocked 0\nsoftirq{' 0' * 11}\n"
    )


def machine_files(identity: Identity, boot_time: int, host_cpuinfo: str) -> dict[str, str]:
    """The constant files at the top of /proc that say who the machine is: names and texts.

    Host and domain name are absent because the UTS namespace answers them; `sysctls` has the rest.
    """
    # Linux prints "(builder@host) (compiler)" between release and version; tools cut by fields.
    version = (
        f"Linux version {identity.release} (nsbuild@{identity.hostname}) (gcc) {identity.version}\n"
    )
    return {
        "cpuinfo": cpuinfo(host_cpuinfo),
        "stat": stat(boot_time),
        # Covered by the served one where there is FUSE.
        "uptime": "0.00 0.00\n",
        "loadavg": "0.00 0.00 0.00 1/1 2\n",
        "version": version,
        "cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/root ro\n",
    }


def identity_files(identity: Identity, network: str) -> dict[str, str]:
    """Constant files of the target's own tree, to be put in place only where it has them."""
    files = {
        "/etc/machine-id": f"{identity.machine_id}\n",
        "/var/lib/dbus/machine-id": f"{identity.machine_id}\n",
    }
    if network == "none":
        # With a name that does not resolve, sudo complains and test suites wait or fail.
        files["/etc/hosts"] = (
            "127.0.0.1\tlocalhost\n"
            f"127.0.1.1\t{identity.hostname}\n"
            "::1\tlocalhost ip6-localhost ip6-loopback\n"
        )
    return files
