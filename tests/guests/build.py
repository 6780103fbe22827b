"""Builds the guests once for each state of their sources.

The result is a directory named by a hash of the sources and of this file, below `.cache/` of the
checkout. It is made under another name and renamed, so that test runs side by side may build at the
same time. What cannot be built (no musl, no Go, no 32-bit libc) is left out; the test that wants it
asks with `has`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
CACHE = SOURCES.parent.parent / ".cache"

DYNAMIC = (
    "clocks vdso random cpu timecalls sleeps processes storm int80 listener threadfork hammer "
    "kernelids threads hardware functions gcrypt waits timers socktimes recvmmsg waitv giveway "
    "disk mounts"
)
"""Guests built with the host's libc, by name."""
CALLS = "stat open change names dirs inodes odd bare"
"""Guests of the file calls, as calls_NAME; built with the host's libc."""
STATIC = (
    "clocks vdso random timecalls sleeps processes storm early waits timers socktimes recvmmsg "
    "waitv giveway"
)
"""Guests also built static, as NAME-static, and with musl, as NAME-musl."""

_CXXFLAGS = ("-O1", "-Wall", "-Wextra", "-Werror")
_CFLAGS = (*_CXXFLAGS, "-Wno-clobbered")


def _commands(out: Path) -> dict[str, list[str]]:
    """The guests' names and the compiler's arguments for each; later ones may use earlier ones."""
    made: dict[str, list[str]] = {}
    for name in (*DYNAMIC.split(), *(f"calls_{name}" for name in CALLS.split())):
        made[name] = ["gcc", *_CFLAGS, f"{name}.c", "-lpthread"]
    for name in STATIC.split():
        made[f"{name}-static"] = ["gcc", *_CFLAGS, "-static", f"{name}.c", "-lpthread"]
        made[f"{name}-musl"] = ["musl-gcc", *_CFLAGS, "-static", f"{name}.c", "-lpthread"]
    made["libearly.so"] = ["gcc", *_CFLAGS, "-shared", "-fPIC", "libearly.c"]
    made["early"] = [
        *("gcc", *_CFLAGS, "-DWITH_LIBRARY", "early.c", f"-L{out}", "-learly"),
        "-Wl,-rpath,$ORIGIN",
    ]
    made["randomdevice"] = ["g++", *_CXXFLAGS, "randomdevice.cc"]
    made["randomdevice-static"] = ["g++", *_CXXFLAGS, "-static-libstdc++", "randomdevice.cc"]
    freestanding = ("-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector")
    made["nostart"] = ["gcc", *_CFLAGS, *freestanding, "nostart.c"]
    made["i386"] = ["gcc", *_CFLAGS, "-m32", "-static", "i386.c"]
    return made


def _go(out: Path, name: str, cgo: str) -> None:
    """Build the Go guest `name` without network and without touching the user's own cache."""
    if not shutil.which("go"):
        return
    with tempfile.TemporaryDirectory(dir=out) as cache:
        environment = dict(os.environ, GO111MODULE="off", GOFLAGS="-mod=mod", CGO_ENABLED=cgo)
        environment |= {"GOCACHE": cache, "GOPATH": cache, "GOTOOLCHAIN": "local"}
        command = ["go", "build", "-o", str(out / name), str(SOURCES / name / "main.go")]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)


def _build_all(out: Path) -> None:
    missing = []
    for name, command in _commands(out).items():
        command = [*command, "-o", str(out / name)]
        if not shutil.which(command[0]):
            continue
        done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, timeout=120)
        if done.returncode and "-m32" in command:
            continue
        if done.returncode:
            missing.append(f"{' '.join(command)}\n{done.stderr}")
    if missing:
        raise RuntimeError("guests that do not compile:\n" + "\n".join(missing))
    _go(out, "gopure", "0")
    _go(out, "gocgo", "1")
    script = out / "script"
    script.write_text("#!/bin/sh\nexec date +%s.%N\n")
    script.chmod(0o755)


def fingerprint() -> str:
    """A name for the present state of the sources."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.rglob("*")):
        if source.suffix in (".c", ".cc", ".h", ".go", ".py"):
            digest.update(str(source.relative_to(SOURCES)).encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def build() -> Path:
    """The directory with the built guests, built now if need be; RuntimeError if one fails."""
    final = CACHE / f"guests-{fingerprint()}"
    if final.is_dir():
        return final
    CACHE.mkdir(exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="guests-new-", dir=CACHE))
    try:
        _build_all(partial)
        partial.chmod(0o755)
        try:
            partial.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


if __name__ == "__main__":
    print(build())
