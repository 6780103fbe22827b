"""The files at the top of /proc, as a machine shows them that has just started and has no devices.

Everything the kernel counts (memory, interrupts, disks, the processor's time) is at its start; what
describes the host's kernel or hardware is empty. The sizes agree with sysinfo(2), the processor
with `machine`. Processes see a kernel without modules, ciphers or keys, so that nothing depends on
what the host has loaded. docs/proc.md lists each file. See proc(5) for the formats.
"""

from __future__ import annotations

from nsbuild.determinism.memory import MEMORY_FREE, MEMORY_TOTAL

_PAGE = 4096
_KIB = 1024
_BLOCK_PAGES = 1024
"""Pages in a free block of the highest order (MAX_ORDER 10)."""

_CACHED = (MEMORY_TOTAL - MEMORY_FREE) // 2
"""Bytes of the page cache: what is neither free nor used."""

_MEMINFO = (
    ("MemTotal", MEMORY_TOTAL),
    ("MemFree", MEMORY_FREE),
    ("MemAvailable", MEMORY_FREE + _CACHED),
    ("Buffers", 0),
    ("Cached", _CACHED),
    ("SwapCached", 0),
    ("Active", _CACHED // 2),
    ("Inactive", _CACHED // 2),
    ("Active(anon)", 0),
    ("Inactive(anon)", 0),
    ("Active(file)", _CACHED // 2),
    ("Inactive(file)", _CACHED // 2),
    ("Unevictable", 0),
    ("Mlocked", 0),
    ("SwapTotal", 0),
    ("SwapFree", 0),
    ("Dirty", 0),
    ("Writeback", 0),
    ("AnonPages", 0),
    ("Mapped", 0),
    ("Shmem", 0),
    ("KReclaimable", 0),
    ("Slab", 0),
    ("SReclaimable", 0),
    ("SUnreclaim", 0),
    ("KernelStack", 0),
    ("PageTables", 0),
    ("NFS_Unstable", 0),
    ("Bounce", 0),
    ("WritebackTmp", 0),
    ("CommitLimit", MEMORY_TOTAL // 2),
    ("Committed_AS", 0),
    # The size of the kernel's own range with four levels of page tables.
    ("VmallocTotal", (1 << 45) - _KIB),
    ("VmallocUsed", 0),
    ("VmallocChunk", 0),
    ("Percpu", 0),
    ("AnonHugePages", 0),
    ("ShmemHugePages", 0),
    ("ShmemPmdMapped", 0),
    ("FileHugePages", 0),
    ("FilePmdMapped", 0),
)
_HUGE_PAGES = """\
HugePages_Total:       0
HugePages_Free:        0
HugePages_Rsvd:        0
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:               0 kB
"""


def meminfo() -> str:
    """/proc/meminfo: what sysinfo(2) tells, and no swap."""
    lines = [f"{name + ':':<15} {size // _KIB:8} kB\n" for name, size in _MEMINFO]
    direct_map = f"DirectMap4k: {0:11} kB\nDirectMap2M: {MEMORY_TOTAL // _KIB:11} kB\n"
    return "".join(lines) + _HUGE_PAGES + direct_map


_VMSTAT_ZERO = """\
nr_zone_inactive_anon nr_zone_active_anon nr_zone_unevictable nr_zone_write_pending nr_mlock
nr_bounce nr_zspages nr_free_cma nr_inactive_anon nr_active_anon nr_unevictable nr_slab_reclaimable
nr_slab_unreclaimable nr_isolated_anon nr_isolated_file nr_anon_pages nr_mapped nr_dirty
nr_writeback nr_writeback_temp nr_shmem nr_vmscan_write nr_dirtied nr_written nr_kernel_stack
nr_page_table_pages nr_swapcached pgpgin pgpgout pswpin pswpout pgalloc_dma pgalloc_dma32
pgalloc_normal pgalloc_movable pgfree pgactivate pgdeactivate pgfault pgmajfault pgrefill pgreuse
pgsteal_kswapd pgsteal_direct pgscan_kswapd pgscan_direct slabs_scanned pageoutrun pgrotated
drop_pagecache drop_slab oom_kill compact_stall compact_fail compact_success thp_fault_alloc
thp_fault_fallback thp_collapse_alloc thp_split_page thp_zero_page_alloc"""


def vmstat() -> str:
    """/proc/vmstat: pages as in /proc/meminfo, and no event so far."""
    half = _CACHED // 2 // _PAGE
    pages = {
        "nr_free_pages": MEMORY_FREE // _PAGE,
        "nr_zone_inactive_file": half,
        "nr_zone_active_file": half,
        "nr_inactive_file": half,
        "nr_active_file": half,
        "nr_file_pages": _CACHED // _PAGE,
    }
    pages.update(dict.fromkeys(_VMSTAT_ZERO.split(), 0))
    return "".join(f"{name} {value}\n" for name, value in pages.items())


_ZONEINFO = f"""\
Node 0, zone   Normal
  pages free     {MEMORY_FREE // _PAGE}
        boost    0
        min      16896
        low      21120
        high     25344
        spanned  {MEMORY_TOTAL // _PAGE}
        present  {MEMORY_TOTAL // _PAGE}
        managed  {MEMORY_TOTAL // _PAGE}
        cma      0
        protection: (0, 0, 0, 0, 0)
      nr_free_pages {MEMORY_FREE // _PAGE}
  pagesets
    cpu: 0
              count: 0
              high:  0
              batch: 1
  vm stats threshold: 4
  node_unreclaimable:  0
  start_pfn:           0
"""

_SOFTIRQS = "HI TIMER NET_TX NET_RX BLOCK IRQ_POLL TASKLET SCHED HRTIMER RCU"

# What a kernel has that mounts nothing but what a container can have. libselinux looks here for
# selinuxfs, and does nothing without it.
_FILESYSTEMS = "".join(
    f"nodev\t{name}\n"
    for name in (
        *("sysfs", "tmpfs", "bdev", "proc", "cgroup", "cgroup2", "devtmpfs", "sockfs", "pipefs"),
        *("ramfs", "hugetlbfs", "devpts", "mqueue", "fuse", "overlay"),
    )
) + "".join(f"\t{name}\n" for name in ("ext3", "ext2", "ext4", "squashfs", "fuseblk"))

_DEVICES = """\
Character devices:
  1 mem
  4 tty
  5 /dev/tty
  5 /dev/console
  5 /dev/ptmx
 10 misc
128 ptm
136 pts

Block devices:
  7 loop
259 blkext
"""

_NO_PRESSURE = "".join(
    f"{who} avg10=0.00 avg60=0.00 avg300=0.00 total=0\n" for who in ("some", "full")
)


def kernel_files() -> dict[str, str]:
    """Files at the top of /proc that depend on nothing: names and texts.

    Whatever the kernel has besides them is covered by an empty file; that goes for modules,
    kallsyms, crypto, iomem, ioports, locks, config.gz and many more.
    """
    order = f"{MEMORY_FREE // _PAGE // _BLOCK_PAGES:6} "
    return {
        "buddyinfo": f"Node 0, zone   Normal {'     0 ' * 10}{order}\n",
        "cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\n",
        "devices": _DEVICES,
        "dma": " 4: cascade\n",
        "execdomains": "0-0\tLinux           \t[kernel]\n",
        "filesystems": _FILESYSTEMS,
        "interrupts": "           CPU0       \n",
        "meminfo": meminfo(),
        "schedstat": f"version 15\ntimestamp 0\ncpu0{' 0' * 9}\n",
        "slabinfo": (
            "slabinfo - version: 2.1\n"
            "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
            " : tunables <limit> <batchcount> <sharedfactor>"
            " : slabdata <active_slabs> <num_slabs> <sharedavail>\n"
        ),
        "softirqs": f"{'CPU0':>24}       \n"
        + "".join(f"{name:>12}:{0:11}\n" for name in _SOFTIRQS.split()),
        "swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        "vmstat": vmstat(),
        "zoneinfo": _ZONEINFO,
    }


DIRECTORIES: dict[str, dict[str, str]] = {
    "pressure": dict.fromkeys(("cpu", "io", "memory"), _NO_PRESSURE),
    "tty": {
        # ps names terminals by this list.
        "drivers": (
            "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
            "/dev/console         /dev/console    5       1 system:console\n"
            "/dev/ptmx            /dev/ptmx       5       2 system\n"
            "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
            "pty_master           /dev/ptm      128 0-1048575 pty:master\n"
        ),
        "ldiscs": "n_tty       0\n",
    },
}
"""Directories at the top of /proc with constant files; /proc/sys is in `sysctls`."""

KEPT = frozenset(("sysvipc",))
"""What stays the kernel's own: it belongs to the container's IPC namespace. So do the links (self,
thread-self, mounts, net) and the processes."""
