"""The settings below /proc/sys that the command sees: constant, so that a directory can hold them.

The values are the defaults of Linux 6.1 on a machine with one processor and the memory that
sysinfo(2) tells; what the kernel computes from the memory's size is computed for that, rounded.
They describe and do not act: the kernel goes on with the host's settings, and since the directory
is read-only in a container anyway nobody can tell by writing. Left out is what only root may read
or what one driver alone has. See Documentation/admin-guide/sysctl in the kernel's tree.
"""

from __future__ import annotations

from nsbuild.container.spec import Identity
from nsbuild.determinism.names import PID_LIMIT

# A name and, behind one space, its text; no text is an empty line, as for an empty list.
_TABLE = f"""\
abi/vsyscall32 1
debug/exception-trace 1
dev/tty/ldisc_autoload 1
fs/aio-max-nr 65536
fs/aio-nr 0
fs/dentry-negative 0
fs/dentry-state 1024\t512\t45\t0\t0\t0
fs/dir-notify-enable 1
fs/epoll/max_user_watches 900000
fs/fanotify/max_queued_events 16384
fs/fanotify/max_user_groups 128
fs/fanotify/max_user_marks 32768
fs/file-max 400000
fs/file-nr 64\t0\t400000
fs/inode-nr 1024\t0
fs/inode-state 1024\t0\t0\t0\t0\t0\t0
fs/inotify/max_queued_events 16384
fs/inotify/max_user_instances 128
fs/inotify/max_user_watches 32768
fs/lease-break-time 45
fs/leases-enable 1
fs/mount-max 100000
fs/mqueue/msg_default 10
fs/mqueue/msg_max 10
fs/mqueue/msgsize_default 8192
fs/mqueue/msgsize_max 8192
fs/mqueue/queues_max 256
fs/nr_open 1048576
fs/overflowgid 65534
fs/overflowuid 65534
fs/pipe-max-size 1048576
fs/pipe-user-pages-hard 0
fs/pipe-user-pages-soft 16384
fs/protected_fifos 0
fs/protected_hardlinks 1
fs/protected_regular 0
fs/protected_symlinks 1
fs/suid_dumpable 0
kernel/acct 4\t2\t30
kernel/arch x86_64
kernel/auto_msgmni 0
kernel/bootloader_type 0
kernel/bootloader_version 0
kernel/bpf_stats_enabled 0
kernel/cad_pid 1
kernel/cap_last_cap 40
kernel/core_pattern core
kernel/core_pipe_limit 0
kernel/core_uses_pid 0
kernel/ctrl-alt-del 0
kernel/dmesg_restrict 1
kernel/ftrace_dump_on_oops 0
kernel/ftrace_enabled 1
kernel/hung_task_timeout_secs 120
kernel/hung_task_warnings 10
kernel/io_delay_type 0
kernel/keys/gc_delay 300
kernel/keys/maxbytes 20000
kernel/keys/maxkeys 200
kernel/keys/persistent_keyring_expiry 259200
kernel/keys/root_maxbytes 25000000
kernel/keys/root_maxkeys 1000000
kernel/kptr_restrict 1
kernel/max_lock_depth 1024
kernel/modprobe /sbin/modprobe
kernel/modules_disabled 0
kernel/msg_next_id -1
kernel/msgmax 8192
kernel/msgmnb 16384
kernel/msgmni 32000
kernel/ngroups_max 65536
kernel/nmi_watchdog 0
kernel/ns_last_pid 2
kernel/numa_balancing 0
kernel/oops_limit 10000
kernel/ostype Linux
kernel/overflowgid 65534
kernel/overflowuid 65534
kernel/panic 0
kernel/panic_on_oops 0
kernel/panic_on_warn 0
kernel/panic_print 0
kernel/perf_cpu_time_max_percent 25
kernel/perf_event_max_contexts_per_stack 8
kernel/perf_event_max_sample_rate 100000
kernel/perf_event_max_stack 127
kernel/perf_event_mlock_kb 516
kernel/perf_event_paranoid 2
kernel/pid_max {PID_LIMIT}
kernel/poweroff_cmd /sbin/poweroff
kernel/print-fatal-signals 0
kernel/printk 4\t4\t1\t7
kernel/printk_delay 0
kernel/printk_devkmsg on
kernel/printk_ratelimit 5
kernel/printk_ratelimit_burst 10
kernel/pty/max 4096
kernel/pty/nr 0
kernel/pty/reserve 1024
kernel/random/entropy_avail 256
kernel/random/poolsize 256
kernel/random/urandom_min_reseed_secs 60
kernel/random/write_wakeup_threshold 256
kernel/randomize_va_space 2
kernel/real-root-dev 0
kernel/sched_autogroup_enabled 1
kernel/sched_cfs_bandwidth_slice_us 5000
kernel/sched_child_runs_first 0
kernel/sched_deadline_period_max_us 4194304
kernel/sched_deadline_period_min_us 100
kernel/sched_rr_timeslice_ms 100
kernel/sched_rt_period_us 1000000
kernel/sched_rt_runtime_us 950000
kernel/seccomp/actions_avail kill_process kill_thread trap errno user_notif trace log allow
kernel/seccomp/actions_logged kill_process kill_thread trap errno user_notif trace log
kernel/sem 32000\t1024000000\t500\t32000
kernel/sem_next_id -1
kernel/shm_next_id -1
kernel/shm_rmid_forced 0
kernel/shmall 18446744073692774399
kernel/shmmax 18446744073692774399
kernel/shmmni 4096
kernel/soft_watchdog 1
kernel/sysctl_writes_strict 1
kernel/sysrq 0
kernel/tainted 0
kernel/task_delayacct 0
kernel/threads-max 32000
kernel/timer_migration 1
kernel/unknown_nmi_panic 0
kernel/unprivileged_bpf_disabled 2
kernel/usermodehelper/bset 4294967295\t511
kernel/usermodehelper/inheritable 4294967295\t511
kernel/warn_limit 0
kernel/watchdog 1
kernel/watchdog_cpumask 0
kernel/watchdog_thresh 10
net/core/bpf_jit_enable 1
net/core/busy_poll 0
net/core/busy_read 0
net/core/default_qdisc pfifo_fast
net/core/netdev_max_backlog 1000
net/core/optmem_max 20480
net/core/rmem_default 212992
net/core/rmem_max 212992
net/core/somaxconn 4096
net/core/wmem_default 212992
net/core/wmem_max 212992
net/ipv4/conf/all/forwarding 0
net/ipv4/conf/all/rp_filter 0
net/ipv4/conf/default/forwarding 0
net/ipv4/conf/default/rp_filter 0
net/ipv4/conf/lo/forwarding 0
net/ipv4/conf/lo/rp_filter 0
net/ipv4/ip_default_ttl 64
net/ipv4/ip_forward 0
net/ipv4/ip_local_port_range 32768\t60999
net/ipv4/ip_local_reserved_ports
net/ipv4/ip_nonlocal_bind 0
net/ipv4/ip_unprivileged_port_start 1024
net/ipv4/ping_group_range 1\t0
net/ipv4/tcp_allowed_congestion_control reno cubic
net/ipv4/tcp_available_congestion_control reno cubic
net/ipv4/tcp_congestion_control cubic
net/ipv4/tcp_ecn 2
net/ipv4/tcp_fastopen 1
net/ipv4/tcp_fin_timeout 60
net/ipv4/tcp_keepalive_intvl 75
net/ipv4/tcp_keepalive_probes 9
net/ipv4/tcp_keepalive_time 7200
net/ipv4/tcp_max_syn_backlog 256
net/ipv4/tcp_mem 45000\t60000\t90000
net/ipv4/tcp_retries2 15
net/ipv4/tcp_rmem 4096\t131072\t6291456
net/ipv4/tcp_sack 1
net/ipv4/tcp_syn_retries 6
net/ipv4/tcp_syncookies 1
net/ipv4/tcp_timestamps 1
net/ipv4/tcp_tw_reuse 2
net/ipv4/tcp_window_scaling 1
net/ipv4/tcp_wmem 4096\t16384\t4194304
net/ipv4/udp_mem 90000\t120000\t180000
net/ipv6/bindv6only 0
net/ipv6/conf/all/disable_ipv6 0
net/ipv6/conf/all/forwarding 0
net/ipv6/conf/default/disable_ipv6 0
net/ipv6/conf/default/forwarding 0
net/ipv6/conf/lo/disable_ipv6 0
net/ipv6/conf/lo/forwarding 0
net/unix/max_dgram_qlen 10
user/max_cgroup_namespaces 16000
user/max_fanotify_groups 128
user/max_fanotify_marks 32768
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
vm/compact_unevictable_allowed 1
vm/compaction_proactiveness 20
vm/dirty_background_bytes 0
vm/dirty_background_ratio 10
vm/dirty_bytes 0
vm/dirty_expire_centisecs 3000
vm/dirty_ratio 20
vm/dirty_writeback_centisecs 500
vm/dirtytime_expire_seconds 43200
vm/extfrag_threshold 500
vm/hugetlb_shm_group 0
vm/laptop_mode 0
vm/legacy_va_layout 0
vm/lowmem_reserve_ratio 256\t256\t32\t0\t0
vm/max_map_count 65530
vm/min_free_kbytes 67584
vm/mmap_min_addr 65536
vm/mmap_rnd_bits 28
vm/mmap_rnd_compat_bits 8
vm/nr_hugepages 0
vm/nr_overcommit_hugepages 0
vm/oom_dump_tasks 1
vm/oom_kill_allocating_task 0
vm/overcommit_kbytes 0
vm/overcommit_memory 0
vm/overcommit_ratio 50
vm/page-cluster 3
vm/page_lock_unfairness 5
vm/panic_on_oom 0
vm/percpu_pagelist_high_fraction 0
vm/stat_interval 1
vm/swappiness 60
vm/unprivileged_userfaultfd 0
vm/user_reserve_kbytes 131072
vm/vfs_cache_pressure 100
vm/watermark_boost_factor 15000
vm/watermark_scale_factor 10
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
