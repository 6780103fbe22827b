"""What the tests of Debian's builders share: the mirror, a root to build in, a package to build.

The package differs on every build: it says when and by which process it was made. It needs nothing
but build-essential, so that no builder has to ask the mirror for more.
"""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

from tests.acceptance.nearmirror import NearMirror

_CONTROL = """\
Source: tiny
Section: misc
Priority: optional
Maintainer: A Tester <tester@example.org>
Standards-Version: 4.6.2
Rules-Requires-Root: no

Package: tiny
Architecture: any
Description: package that differs on every build
 It says when and by which process it was made.
"""
_CHANGELOG = """\
tiny (1.0) unstable; urgency=low

  * First.

 -- A Tester <tester@example.org>  Mon, 05 Jan 2015 10:00:00 +0000
"""
_RULES = """\
#!/usr/bin/make -f
D := debian/tiny
build build-arch build-indep:
\techo 'int main(void) { return 0; }' > tiny.c
\tcc -o tiny tiny.c
\ttest -x /proc/self/exe
\tdate +%s.%N > stamp
\tod -An -tx1 -N8 /dev/urandom >> stamp
\tsh -c 'echo $$$$' >> stamp
\tstat -c '%Y %i' tiny >> stamp
binary binary-arch: build
\tmkdir -p $D/DEBIAN $D/usr/share/tiny $D/usr/bin
\tcp -p tiny $D/usr/bin/
\tcp stamp $D/usr/share/tiny/
\tdpkg-gencontrol -ptiny -P$D
\tdpkg-deb --build $D ..
binary-indep:
clean:
\trm -rf tiny tiny.c stamp debian/tiny debian/files
"""


@cache
def suite() -> str:
    """The codename of this machine's Debian; empty if it is another system."""
    with open("/etc/os-release") as file:
        fields = dict(line.strip().partition("=")[::2] for line in file if "=" in line)
    return fields.get("VERSION_CODENAME", "") if fields.get("ID") == "debian" else ""


@cache
def mirror() -> str:
    """An address to take the suite from; empty if apt knows none or that does not answer."""
    upstream = _upstream()
    return upstream and NearMirror(upstream).address


def _upstream() -> str:
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        release, _, address = line.partition(" ")
        if release == suite() and _answers(f"{address.rstrip('/')}/dists/{release}/Release"):
            return address
    return ""


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def make_root(archive: Path, timeout: float) -> None:
    """Bootstrap a root with build-essential into a tar archive, without nsbuild; only for root."""
    source = f"deb {mirror()} {suite()} main"
    options = ["--mode=root", "--variant=buildd", "--include=fakeroot", "--quiet"]
    command = ["mmdebstrap", *options, suite(), str(archive), source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr


def make_source(directory: Path) -> Path:
    """Write the source package into the directory; returns its .dsc."""
    top = directory / "tiny-1.0"
    (top / "debian/source").mkdir(parents=True)
    texts = {"control": _CONTROL, "changelog": _CHANGELOG, "rules": _RULES}
    for name, text in {**texts, "source/format": "3.0 (native)\n"}.items():
        (top / "debian" / name).write_text(text)
    (top / "debian/rules").chmod(0o755)
    command = ["dpkg-source", "--build", top.name]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=60)
    return directory / "tiny_1.0.dsc"


def built(directory: Path) -> dict[str, bytes]:
    """What a build has left: the last part of each file's name -> its content."""
    found = {path.suffix: path.read_bytes() for path in directory.glob("tiny_1.0_*.*")}
    return {suffix: found[suffix] for suffix in (".deb", ".buildinfo", ".changes")}
