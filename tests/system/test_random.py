"""Every source of entropy gives a stream of the process's own, the same twice."""

from __future__ import annotations

import hashlib

import pytest

from nsbuild.determinism.entropy import Stream, child_seed, root_seed
from tests.system.capabilities import needs
from tests.system.harness import Runner

LIBCS = ("", "-static", "-musl")
DEVICES = ("/dev/urandom", "/dev/random")


def guests(name: str) -> list[str]:
    return [name + libc for libc in LIBCS]


@pytest.mark.parametrize("guest", guests("random"), indirect=True)
def test_getrandom_with_every_flag_and_length(ns: Runner, guest: str) -> None:
    ns.twice(guest, "values").ok()


@pytest.mark.parametrize("guest", guests("random"), indirect=True)
def test_errors_of_getrandom_are_the_kernels(ns: Runner, guest: str) -> None:
    ns.twice(guest, "errors", differs_bare=False).ok()


GETRANDOM = "import os, sys; sys.stdout.write(os.getrandom(100).hex())"


def test_the_stream_is_the_documented_one(ns: Runner) -> None:
    """Python reads 24 bytes for its hash seed first, unless it is told not to."""
    seen = ns.exec("/usr/bin/python3", "-I", "-c", GETRANDOM, options=["-e", "PYTHONHASHSEED=0"])
    stream = Stream(root_seed(0)).peek(4096)
    assert bytes.fromhex(seen.ok().text) in stream
    assert stream[:20] == hashlib.sha1(root_seed(0) + bytes(8)).digest()


def test_a_child_has_the_documented_stream(ns: Runner) -> None:
    script = "import os\nif os.fork(): os.wait()\nelse: print(os.getrandom(64).hex())"
    seen = ns.exec("/usr/bin/python3", "-I", "-c", script).ok()
    stream = Stream(child_seed(root_seed(0), 0)).peek(4096)
    assert bytes.fromhex(seen.text) in stream


def test_the_seed_option_changes_it(ns: Runner) -> None:
    runs = [
        ns.exec("/usr/bin/python3", "-c", GETRANDOM, options=["--seed", seed]).ok().text
        for seed in ("0", "1", "2", "1")
    ]
    assert len(set(runs[:3])) == 3
    assert runs[3] == runs[1]


def test_siblings_do_not_share_a_stream(ns: Runner) -> None:
    script = "for i in 1 2 3 4 5; do od -An -N16 -tx1 /dev/urandom; done"
    lines = ns.twice("sh", "-c", script).ok().lines
    assert len(set(lines)) == 5


@pytest.mark.parametrize("guest", guests("random"), indirect=True)
def test_the_auxiliary_vectors_bytes(ns: Runner, guest: str) -> None:
    ns.twice(guest, "auxv").ok()


def test_each_program_has_auxiliary_bytes_of_its_own(ns: Runner) -> None:
    program = ns.guest("random")
    lines = ns.exec("sh", "-c", f"{program} auxv; {program} auxv").ok().lines
    assert len(set(lines)) == 2


@pytest.mark.parametrize("name", ["random", "random-static"])
def test_stack_canary_and_pointer_guard(ns: Runner, name: str) -> None:
    """glibc takes them from AT_RANDOM, before or after ARCH_SET_FS."""
    ns.twice(ns.guest(name), "canary").ok()


def test_addresses(ns: Runner) -> None:
    ns.twice(ns.guest("random"), "addresses").ok()


@pytest.mark.parametrize("path", DEVICES)
@pytest.mark.parametrize("guest", guests("random"), indirect=True)
def test_device(ns: Runner, guest: str, path: str) -> None:
    """Read sizes from nothing to 1 MiB, poll, write, RNDGETENTCNT, a second open, a child."""
    ns.twice(guest, "device", path).ok()


@pytest.mark.parametrize("path", DEVICES)
def test_the_device_is_endless(ns: Runner, path: str) -> None:
    seen = ns.twice("sh", "-c", f"head -c 4194304 {path} | sha256sum; head -c 3 {path} | wc -c")
    assert seen.ok().lines[1] == "3"


@pytest.mark.parametrize("path", DEVICES)
def test_the_device_behaves(ns: Runner, path: str) -> None:
    seen = ns.exec(ns.guest("random"), "device", path).ok().lines
    assert [line.split()[1] for line in seen if line.startswith("read")] == (
        ["0", "1", "3", "20", "255", "4095", "4096", "65536", "1048576"]
    )
    assert "open 0" in seen
    assert any(line.startswith("poll 1 ") for line in seen)
    assert "write 7" in seen
    assert next(line for line in seen if line.startswith("RNDGETENTCNT")) == "RNDGETENTCNT 0 256"


def test_another_user_inside_reads_it_too(ns: Runner) -> None:
    """Bare only root could become somebody else, so another seed shows that it is our stream."""
    become = ("setpriv", "--reuid=1", "--clear-groups", "od", "-An", "-N8", "-tx1", "/dev/urandom")
    runs = [ns.exec(*become, options=["--seed", seed]).ok().text for seed in "001"]
    assert runs[0] == runs[1] != runs[2]


def test_proc_files(ns: Runner) -> None:
    """uuid changes at each read, boot_id does not, and both repeat."""
    seen = ns.twice(ns.guest("random"), "proc").ok().lines
    first, again, boot, boot_again = (line.split()[2] for line in seen[:4])
    assert first != again
    assert boot == boot_again
    assert [len(part) for part in first.split("-")] == [8, 4, 4, 4, 12]
    assert first[14] == "4"
    assert first[19] in "89ab"
    assert seen[4] == "entropy_avail 4 256"


def test_go_map_order_and_crypto(root: Runner) -> None:
    """Under SCHED_FIFO: the guest prints the clock too, which its threads read in turns."""
    needs("Go", root.has("gopure"))
    root.twice(root.guest("gopure")).ok()


PYTHON = {
    "urandom": "import os; print(os.urandom(33).hex())",
    "random": "import random; print(random.random(), random.getrandbits(200))",
    "secrets": "import secrets; print(secrets.token_hex())",
    "hash": "print(hash('nsbuild'), {c for c in 'deterministic'})",
    "uuid1": "import uuid; print(uuid.uuid1())",
    "uuid4": "import uuid; print(uuid.uuid4())",
    "tempfile": "import tempfile; print(tempfile.mktemp())",
    "id": "print(id(object()), object())",
}


@pytest.mark.parametrize("name", PYTHON)
def test_python(ns: Runner, name: str) -> None:
    ns.twice("/usr/bin/python3", "-c", PYTHON[name]).ok()
