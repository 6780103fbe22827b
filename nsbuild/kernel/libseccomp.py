"""What must be known of libseccomp without loading its Python binding.

Its version, because a cached filter is only as good as the library that made it, and the numbers
of the calls that a library older than the kernel has no names for.
"""

from __future__ import annotations

import ctypes


class ScmpVersion(ctypes.Structure):
    """`struct scmp_version` of <seccomp.h>."""

    _fields_ = (
        ("major", ctypes.c_uint),
        ("minor", ctypes.c_uint),
        ("micro", ctypes.c_uint),
    )


def seccomp_version() -> str:
    """The version of the libseccomp that would be loaded, as "2.5.4"; OSError without one."""
    function = ctypes.CDLL("libseccomp.so.2").seccomp_version
    function.restype = ctypes.POINTER(ScmpVersion)
    function.argtypes = []
    version = function().contents
    return f"{version.major}.{version.minor}.{version.micro}"


# arch/x86/entry/syscalls/syscall_64.tbl. libseccomp 2.5.0 knows the calls up to 439; distributions
# differ in how many names they have added since, and no version of a profile should depend on that.
NEWER_SYSCALLS_X86_64 = {
    "uretprobe": 335,
    "uprobe": 336,
    "process_madvise": 440,
    "epoll_pwait2": 441,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "futex_waitv": 449,
    "set_mempolicy_home_node": 450,
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
    "listns": 470,
}
