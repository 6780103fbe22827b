"""--cpu-model: what a build learns of the processor, what is kept from it, and what leaks still.

docs/cpu.md says why CPUID, RDRAND and RDTSC executed by a program cannot be answered.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.system.capabilities import needs, needs_tools
from tests.system.harness import Runner

BASELINE = "--cpu-model=baseline"
TOKENS = ("default", "rdrand", "rdseed", "/dev/urandom")
FLAGS = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()


def needs_flag(name: str) -> None:
    needs(f"a processor with {name}", name in FLAGS)


def needs_guest(runner: Runner, name: str) -> str:
    needs(f"a compiler for the guest {name}", runner.has(name))
    return runner.guest(name)


def test_a_model_that_does_not_exist(root: Runner) -> None:
    seen = root.exec("true", options=["--cpu-model=pentium"])
    assert seen.code == 125
    assert "--cpu-model" in seen.complaint


def test_random_device_asks_the_kernel(ns: Runner) -> None:
    """Under both models: it is chance, and not only the processor's model, that it would add."""
    guest = needs_guest(ns, "randomdevice")
    for option in ("--cpu-model=host", BASELINE):
        ns.twice(guest, *TOKENS, options=[option]).ok()


def test_random_device_draws_from_the_stream(root: Runner) -> None:
    """The same numbers, whether the library would have taken the processor or the device."""
    guest = needs_guest(root, "randomdevice")
    drawn = {root.exec(guest, token).ok().lines[0].split(None, 1)[1] for token in TOKENS}
    assert len(drawn) == 1


def test_random_device_of_another_user_inside(ns: Runner) -> None:
    """An unprivileged supervisor may not look at that process by itself."""
    ns.twice(needs_guest(ns, "randomdevice"), options=["--user=1:1"]).ok()


@pytest.mark.xfail(strict=True, reason="the function has no name in a linked program (docs/cpu.md)")
def test_random_device_linked_in(root: Runner) -> None:
    needs_flag("rdrand")
    root.twice(needs_guest(root, "randomdevice-static")).ok()


@pytest.mark.xfail(
    strict=True, reason="an instruction that nothing of the kernel sees (docs/cpu.md)"
)
@pytest.mark.parametrize("instruction", ["rdrand", "rdtsc"])
def test_instructions(root: Runner, instruction: str) -> None:
    needs_flag("rdrand")
    root.twice(root.guest("hardware"), instruction, options=[BASELINE]).ok()


@pytest.mark.xfail(
    strict=True, reason="an instruction that nothing of the kernel sees (docs/cpu.md)"
)
def test_cpuid(root: Runner) -> None:
    """The bits of RDRAND and AVX would not be there in a baseline processor."""
    needs_flag("avx")
    words = root.exec(root.guest("hardware"), "cpuid", options=[BASELINE]).ok().lines[1].split()
    assert not int(words[3], 16) & (1 << 28 | 1 << 30)


def test_what_the_c_library_chooses(ns: Runner) -> None:
    """Other code and other results than this processor's best, and the same for both."""
    needs_flag("fma")
    guest = ns.guest("functions")
    best, plain = ns.exec(guest).ok(), ns.exec(guest, options=[BASELINE]).ok()
    for name in ("memcpy +", "sin +", "sin ", "exp "):
        first, second = (
            [line for line in seen.lines if line.startswith(name)] for seen in (best, plain)
        )
        assert first != second, name


def test_the_loader_searches_no_directory_of_a_level(root: Runner) -> None:
    needs_flag("sse4_2")
    loader = "/lib64/ld-linux-x86-64.so.2"
    levels = [
        [line for line in root.exec(loader, "--help", options=options).ok().lines if "-v2" in line]
        for options in ([], [BASELINE])
    ]
    assert levels == [["  x86-64-v2 (supported, searched)"], ["  x86-64-v2"]]


def test_cpuinfo(ns: Runner) -> None:
    text = ns.exec("cat", "/proc/cpuinfo", options=[BASELINE]).ok().text
    flags = text.partition("flags\t\t: ")[2].partition("\n")[0].split()
    assert "sse2" in flags
    assert not {"sse3", "pni", "avx", "rdrand", "rdseed", "hypervisor", "ht"} & set(flags)
    assert "vendor_id\t: GenuineIntel\n" in text


def test_libgcrypt(ns: Runner) -> None:
    guest = ns.guest("gcrypt")
    needs("libgcrypt", ns.bare(guest).code != 77)
    before = _state_of("/etc/gcrypt")
    for options in ([BASELINE], [BASELINE, "--read-only"]):
        ns.twice(guest, options=options).ok()
    assert _state_of("/etc/gcrypt") == before


@pytest.mark.xfail(strict=True, reason="RDRAND is mixed in; --cpu-model=baseline takes it away")
def test_libgcrypt_with_the_hosts_processor(root: Runner) -> None:
    needs_flag("rdrand")
    needs("libgcrypt", root.bare(root.guest("gcrypt")).code != 77)
    root.twice(root.guest("gcrypt")).ok()


def test_openssl(ns: Runner) -> None:
    needs_tools("openssl")
    seen = ns.exec("openssl", "version", "-a", options=[BASELINE]).ok()
    assert "OPENSSL_ia32cap=0x78bffff:0x0 " in seen.text.replace("=0x0000000007", "=0x7")


def test_maps_of_go_have_another_order_without_aes(root: Runner) -> None:
    """Lines 3 to 5 of the guest are one map, printed three times."""
    needs_flag("aes")
    needs("Go", root.has("gopure"))
    runs = [
        root.exec(root.guest("gopure"), options=options).ok().lines for options in ([], [BASELINE])
    ]
    assert runs[0][2:5] != runs[1][2:5]
    root.twice(root.guest("gopure"), options=[BASELINE]).ok()


def test_a_variable_that_is_asked_for_wins(root: Runner) -> None:
    script = 'echo "$GODEBUG $SYSTEMD_RDRAND"'
    seen = root.exec("sh", "-c", script, options=[BASELINE, "-e", "GODEBUG=gctrace=0"])
    assert seen.ok().lines == ["gctrace=0 0"]
    assert root.exec("sh", "-c", script).ok().lines == [" "]


def _state_of(path: str) -> str:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return ""
    return f"{stat.filemode(found.st_mode)} {found.st_ino} {found.st_mtime_ns}"
