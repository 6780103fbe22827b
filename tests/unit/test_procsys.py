"""The texts that stand in for /proc and /sys agree with each other and with the answers."""

from __future__ import annotations

from nsbuild.container.procfiles import DIRECTORIES, KEPT, kernel_files, meminfo, vmstat
from nsbuild.container.spec import Identity
from nsbuild.container.sysctls import NAMES_OF_UTS, sysctl_directory
from nsbuild.container.sysfiles import links, sys_directory
from nsbuild.determinism.memory import MEMORY_FREE, MEMORY_TOTAL
from nsbuild.determinism.names import PID_LIMIT


def test_memory_is_that_of_sysinfo() -> None:
    told = {line.split(":")[0]: int(line.split()[1]) for line in meminfo().splitlines()}
    assert told["MemTotal"] * 1024 == MEMORY_TOTAL
    assert told["MemFree"] * 1024 == MEMORY_FREE
    assert told["MemFree"] < told["MemAvailable"] <= told["MemTotal"]
    assert told["Active"] + told["Inactive"] == told["Cached"]
    pages = {line.split()[0]: int(line.split()[1]) for line in vmstat().splitlines()}
    assert pages["nr_free_pages"] * 4096 == MEMORY_FREE
    assert pages["nr_file_pages"] * 4 == told["Cached"]
    zone = kernel_files()["buddyinfo"].split()
    assert zone[:4] == ["Node", "0,", "zone", "Normal"]
    free = sum(int(count) << order for order, count in enumerate(zone[4:]))
    assert free * 4096 == MEMORY_FREE


def test_meminfo_has_the_kernel_s_columns() -> None:
    lines = meminfo().splitlines()
    assert lines[0] == "MemTotal:        4194304 kB"
    assert next(line for line in lines if line.startswith("Hugepagesize")).endswith(" 2048 kB")


def test_settings_follow_the_identity_and_the_names() -> None:
    files = sysctl_directory(Identity(release="9.9-x", version="#7", boot_id="b00"))
    assert files["kernel/osrelease"] == "9.9-x\n"
    assert files["kernel/version"] == "#7\n"
    assert files["kernel/random/boot_id"] == "b00\n"
    assert files["kernel/pid_max"] == f"{PID_LIMIT}\n"
    assert files["net/ipv4/ip_local_port_range"] == "32768\t60999\n"
    assert files["net/ipv4/ip_local_reserved_ports"] == "\n"
    mount_points = {*NAMES_OF_UTS, "kernel/random/uuid", "fs/binfmt_misc/"}
    assert {name for name, text in files.items() if not text} == mount_points


def test_names_are_files_or_directories_and_never_both() -> None:
    for files in (sysctl_directory(Identity()), sys_directory(), *DIRECTORIES.values()):
        directories = {
            name.rpartition("/")[0] if depth == 0 else "/".join(name.split("/")[:depth])
            for name in files
            for depth in range(name.count("/") + 1)
        }
        assert not directories & set(files)
        assert all(text.endswith("\n") for text in files.values() if text)
        assert not [name for name in files if name.startswith("/") or "//" in name]


def test_links_in_sys_lead_somewhere() -> None:
    files = sys_directory()
    for name, to in links().items():
        parts = name.split("/")[:-1]
        for part in to.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part]
        place = "/".join(parts) + "/"
        assert any(file.startswith(place) for file in files), name


def test_nothing_is_both_covered_and_kept() -> None:
    assert not KEPT & (kernel_files().keys() | DIRECTORIES.keys())
    assert all(kernel_files().values())
