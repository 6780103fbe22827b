"""What --cpu-model=baseline tells a build of its processor: that of every x86-64 and no more.

CPUID, RDRAND and RDTSC cannot be taken from a program without tracing it (docs/cpu.md has the
evidence), but most of what depends on them in a build is a library that chooses among several
versions of its code, or an own source of random numbers, and such libraries have a switch. Here are
the switches that were seen to work, and whose meaning does not change with the processor.
"""

from __future__ import annotations

HOST = "host"
BASELINE = "baseline"
MODELS = (HOST, BASELINE)

# XSAVE and XSAVEC are not in it: by them the loader saves vector registers when it binds a function
# lazily, and programs that use AVX by themselves need that.
_GLIBC = (
    "SSE3 SSSE3 SSE4_1 SSE4_2 POPCNT MOVBE LZCNT BMI1 BMI2 AVX F16C FMA FMA4 AVX2 AVX512F AVX512CD "
    "AVX512BW AVX512DQ AVX512VL ERMS FSRM RTM Fast_Unaligned_Load Fast_Unaligned_Copy "
    "Fast_Copy_Backward Fast_Rep_String Slow_BSF Slow_SSE4_2 Prefer_PMINUB_for_stringop "
    "AVX_Fast_Unaligned_Load Prefer_No_VZEROUPPER Prefer_ERMS Prefer_FSRM"
)
"""What glibc chooses its string and mathematical functions and glibc-hwcaps directories by."""

_VARIABLES = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in _GLIBC.split()),
    # Each word of its table of features: what every x86-64 has, and nothing.
    "OPENSSL_ia32cap": "0x78bfbff:0:0:0:0",
    # Only what no Qt is compiled to require: it would refuse to start without.
    "QT_NO_CPU_FEATURE": "rdrnd rdseed rtm",
    # A hash with another seed is another one where the processor has AES (Qt 6) or SSE 4.2 (Qt 5).
    "QT_HASH_SEED": "0",
    "SYSTEMD_RDRAND": "0",
    # Go's maps are in another order where the processor has no AES.
    "GODEBUG": "cpu.all=off",
    "OPENBLAS_CORETYPE": "Prescott",
    # Those that all versions from 1.20 to 2.3 know; older ones complain of an unknown one.
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
}

CPUINFO = """\
vendor_id\t: GenuineIntel
flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx \
fxsr sse sse2 syscall nx lm
"""
"""What the host's /proc/cpuinfo would say."""

GCRYPT_DENIED = "/etc/gcrypt/hwf.deny"
"""Where libgcrypt reads what it must not use; it knows no variable for that."""
GCRYPT_TEXT = "padlock-rng\nintel-rdrand\nintel-rdtsc\n"


def variables(model: str) -> dict[str, str]:
    """The environment variables that make `model` known."""
    return _VARIABLES if model == BASELINE else {}
