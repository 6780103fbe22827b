"""The packages that are installed in an image, by the databases of dpkg and rpm in it.

dpkg's is a text, and images without a package manager have one text for each package below
status.d. rpm's database is a file that only rpm itself reads, so the host's rpm(8) is asked, if
there is one.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping

from nsbuild.errors import NsbuildError, warn
from nsbuild.tuples import NamedTuple

DPKG = "var/lib/dpkg/status"
_DPKG_PARTS = "var/lib/dpkg/status.d/"
_RPM = ("var/lib/rpm/", "usr/lib/sysimage/rpm/")
_RPM_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
_FIELD = re.compile(r"([!-9;-~]+):[ \t]*(.*)")
_QUERY = r"%{NAME}\t%{EVR}\t%{ARCH}\t%{LICENSE}\n"


class Package(NamedTuple):
    """An installed package; `kind` is deb or rpm, `license` empty where nothing says it."""

    kind: str
    name: str
    version: str
    architecture: str
    license: str = ""


def is_database(path: str) -> bool:
    """Whether `read` wants the bytes of the file `path`."""
    if path == DPKG or (path.startswith(_DPKG_PARTS) and not path.endswith(".md5sums")):
        return True
    return any(path == start + name for start in _RPM for name in _RPM_FILES)


def read(texts: Mapping[str, bytes]) -> list[Package]:
    """The packages in the databases, sorted; raises NsbuildError where one cannot be read."""
    found: set[Package] = set()
    for path, data in texts.items():
        if path == DPKG or path.startswith(_DPKG_PARTS):
            found.update(_debian(data.decode("utf-8", "replace"), path != DPKG))
        elif is_database(path):
            found.update(_rpm(os.path.basename(path), data))
    return sorted(found)


def _debian(text: str, always: bool) -> Iterator[Package]:
    """Of dpkg's status (deb822(5)) those that are installed; `always` where nothing says it."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        lines = (_FIELD.fullmatch(line) for line in paragraph.splitlines())
        fields = {line[1].lower(): line[2].strip() for line in lines if line}
        installed = fields.get("status", "").endswith(" installed")
        if "package" in fields and (installed or (always and "status" not in fields)):
            yield Package(
                "deb",
                fields["package"],
                fields.get("version", ""),
                fields.get("architecture", ""),
            )


def _rpm(name: str, data: bytes) -> Iterator[Package]:
    with tempfile.TemporaryDirectory(prefix="nsbuild-rpm-") as directory:
        with open(os.path.join(directory, name), "xb") as file:
            file.write(data)
        command = ["rpm", "--dbpath", directory, "--query", "--all", "--queryformat", _QUERY]
        try:
            done = subprocess.run(
                command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=120
            )
        except FileNotFoundError:
            warn("the image has packages of rpm, which are left out: there is no rpm here")
            return
        except subprocess.TimeoutExpired:
            raise NsbuildError("cannot read the database of rpm: rpm does not end") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["rpm failed"]
        raise NsbuildError(f"cannot read the database of rpm: {said[-1]}")
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        fields = line.split("\t")
        if len(fields) == 4 and fields[0] != "gpg-pubkey":
            yield Package("rpm", *fields)
