"""The settings below /proc/sys that the command sees: constant, so that a directory can hold them.

The values are the defaults of Linux 6.1 on a machine with one processor and the memory that
sysinfo(2) tells; what the kernel computes from the memory's size is computed for that, rounded.
They describe and do not act: the kernel goes on with the host's settings, and since the directory
is read-only in a container anyway nobody can tell by writing. Left out is what nobody
but an administrator looks at: a file costs 8 us of each start. See Documentation/admin-guide/sysctl
in the kernel's tree.
"""

from __future__ import annotations

from nsbuild.container.spec import Identity
from nsbuild.determinism.names import PID_LIMIT

# A name and, behind one space, its text; no text is an empty line, as for an empty list.
_TABLE = f"""\
abi/vsyscall32 1
fs/aio-max-nr 65536
fs/dentry-state 1024\t512\t45\t0\t0\t0
fs/epoll/max_user_watches 900000
fs/file-max 400000
fs/file-nr 64\t0\t400000
fs/inode-nr 1024\t0
fs/inode-state 1024\t0\t0\t0\t0\t0\t0
fs/inotify/max_queued_events 16384
fs/inotify/max_user_instances 128
fs/inotify/max_user_watches 32768
fs/mqueue/msg_default 10
fs/mqueue/msg_max 10
fs/mqueue/msgsize_default 8192
fs/mqueue/msgsize_max 8192
fs/mqueue/queues_max 256
fs/nr_open 1048576
fs/pipe-max-size 1048576
fs/pipe-user-pages-soft 16384
fs/protected_fifos 0
fs/protected_hardlinks 1
fs/protected_regular 0
fs/protected_symlinks 1
fs/suid_dumpable 0
kernel/arch x86_64
kernel/cap_last_cap 40
kernel/core_pattern core
kernel/core_uses_pid 0
kernel/dmesg_restrict 1
kernel/kptr_restrict 1
kernel/modprobe /sbin/modprobe
kernel/modules_disabled 0
kernel/msgmax 8192
kernel/msgmnb 16384
kernel/msgmni 32000
kernel/ngroups_max 65536
kernel/ns_last_pid 2
kernel/numa_balancing 0
kernel/ostype Linux
kernel/overflowgid 65534
kernel/overflowuid 65534
kernel/panic 0
kernel/panic_on_oops 0
kernel/perf_event_max_sample_rate 100000
kernel/perf_event_mlock_kb 516
kernel/perf_event_paranoid 2
kernel/pid_max {PID_LIMIT}
kernel/printk 4\t4\t1\t7
kernel/pty/max 4096
kernel/pty/nr 0
kernel/pty/reserve 1024
kernel/random/entropy_avail 256
kernel/random/poolsize 256
kernel/random/write_wakeup_threshold 256
kernel/randomize_va_space 2
kernel/sched_autogroup_enabled 1
kernel/sched_child_runs_first 0
kernel/sched_rr_timeslice_ms 100
kernel/sched_rt_period_us 1000000
kernel/sched_rt_runtime_us 950000
kernel/seccomp/actions_avail kill_process kill_thread trap errno user_notif trace log allow
kernel/seccomp/actions_logged kill_process kill_thread trap errno user_notif trace log
kernel/sem 32000\t1024000000\t500\t32000
kernel/shm_rmid_forced 0
kernel/shmall 18446744073692774399
kernel/shmmax 18446744073692774399
kernel/shmmni 4096
kernel/sysctl_writes_strict 1
kernel/sysrq 0
kernel/tainted 0
kernel/threads-max 32000
kernel/unprivileged_bpf_disabled 2
net/core/default_qdisc pfifo_fast
net/core/optmem_max 20480
net/core/rmem_default 212992
net/core/rmem_max 212992
net/core/somaxconn 4096
net/core/wmem_default 212992
net/core/wmem_max 212992
net/ipv4/conf/all/forwarding 0
net/ipv4/ip_forward 0
net/ipv4/ip_local_port_range 32768\t60999
net/ipv4/ip_local_reserved_ports
net/ipv4/ip_nonlocal_bind 0
net/ipv4/ip_unprivileged_port_start 1024
net/ipv4/ping_group_range 1\t0
net/ipv4/tcp_available_congestion_control reno cubic
net/ipv4/tcp_congestion_control cubic
net/ipv4/tcp_fastopen 1
net/ipv4/tcp_fin_timeout 60
net/ipv4/tcp_keepalive_time 7200
net/ipv4/tcp_max_syn_backlog 256
net/ipv4/tcp_mem 45000\t60000\t90000
net/ipv4/tcp_rmem 4096\t131072\t6291456
net/ipv4/tcp_syncookies 1
net/ipv4/tcp_timestamps 1
net/ipv4/tcp_wmem 4096\t16384\t4194304
net/ipv4/udp_mem 90000\t120000\t180000
net/ipv6/bindv6only 0
net/ipv6/conf/all/disable_ipv6 0
net/ipv6/conf/default/disable_ipv6 0
net/ipv6/conf/lo/disable_ipv6 0
net/unix/max_dgram_qlen 10
user/max_cgroup_namespaces 16000
user/max_inotify_instances 128
user/max_inotify_watches 32768
user/max_ipc_namespaces 16000
user/max_mnt_namespaces 16000
user/max_net_namespaces 16000
user/max_pid_namespaces 16000
user/max_time_namespaces 16000
user/max_user_namespaces 16000
user/max_uts_namespaces 16000
vm/admin_reserve_kbytes 8192
vm/dirty_background_ratio 10
vm/dirty_ratio 20
vm/legacy_va_layout 0
vm/lowmem_reserve_ratio 256\t256\t32\t0\t0
vm/max_map_count 65530
vm/min_free_kbytes 67584
vm/mmap_min_addr 65536
vm/mmap_rnd_bits 28
vm/nr_hugepages 0
vm/nr_overcommit_hugepages 0
vm/overcommit_memory 0
vm/overcommit_ratio 50
vm/page-cluster 3
vm/panic_on_oom 0
vm/swappiness 60
vm/unprivileged_userfaultfd 0
vm/user_reserve_kbytes 131072
vm/vfs_cache_pressure 100
"""

NAMES_OF_UTS = ("kernel/domainname", "kernel/hostname")
"""Settings that stay the kernel's own, because sethostname(2) inside must show in them."""


def sysctl_directory(identity: Identity) -> dict[str, str]:
    """/proc/sys: relative file names and their texts; a name that ends in "/" is a directory."""
    files = {}
    for line in _TABLE.splitlines():
        name, _, text = line.partition(" ")
        files[name] = f"{text}\n"
    files["kernel/osrelease"] = f"{identity.release}\n"
    files["kernel/version"] = f"{identity.version}\n"
    files["kernel/random/boot_id"] = f"{identity.boot_id}\n"
    # Mount points: of what the supervisor serves, of the kernel's own, and of binfmt_misc.
    files["kernel/random/uuid"] = ""
    files.update(dict.fromkeys(NAMES_OF_UTS, ""))
    files["fs/binfmt_misc/"] = ""
    return files
