"""Which clock a root needs: the dates of what is in it that a program may find to be of the future.

apt refuses a Release file that is dated after its clock ("not valid yet"), gpg a key that was made
after it ("created ... in the future"), and both are right. So a clock for a root has to begin no
earlier than the newest of these. Only what files say counts, never their times: these are of
whoever unpacked them, and differ between two copies of a root.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator

from nsbuild.container.openpgp import key_times
from nsbuild.errors import NsbuildError
from nsbuild.kernel.mount import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from nsbuild.tuples import NamedTuple

LISTS = "var/lib/apt/lists"
KEYRINGS = (
    *("etc/apt", "etc/apt/trusted.gpg.d", "etc/apt/keyrings", "usr/share/keyrings"),
    *("etc/pki/rpm-gpg", "usr/share/pacman/keyrings"),
)
_DOC = "usr/share/doc"
_LARGEST = 1 << 24
_CHANGELOG_HEAD = 1 << 15

_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
# Not compiled here: this is imported by runs that have no use for it.
_MOMENT = (
    rb"(?:[A-Z][a-z]{2}, *)?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d)"
    rb" *(UTC|GMT|Z|[+-]\d{4})?"
)
_RELEASE_DATE = rb"(?m)^Date: *" + _MOMENT + rb"\s*$"
_TRAILER = rb"(?m)^ -- [^\n]*  " + _MOMENT + rb"\s*$"


class Dated(NamedTuple):
    """Something in a root: when it is of, in seconds since 1970, its path, and what it is."""

    seconds: int
    path: str
    what: str


class Tree:
    """Looks into a root, wherever its links point as seen from outside; raises NsbuildError.

    Without `follow`, no file is read whose name is a link. `unreadable` are the paths that are
    there and may not be read.
    """

    def __init__(self, path: str, follow: bool = True) -> None:
        self._nofollow = 0 if follow else os.O_NOFOLLOW
        try:
            self._top = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise NsbuildError.from_os(
                f"cannot look into {path}", error, "give the root directory of a system"
            ) from error
        self.unreadable: list[str] = []

    def close(self) -> None:
        """Let it go."""
        os.close(self._top)

    def names(self, directory: str) -> list[str]:
        """What is in `directory`, sorted; nothing where that is missing."""
        fd = self._open(directory, os.O_DIRECTORY)
        if fd < 0:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def read(self, path: str, size: int = _LARGEST) -> bytes:
        """The first `size` bytes of a regular file; none of anything else."""
        fd = self._open(path, os.O_NONBLOCK | self._nofollow)
        if fd < 0:
            return b""
        with open(fd, "rb") as file:
            return file.read(size) if stat.S_ISREG(os.fstat(fd).st_mode) else b""

    def _open(self, path: str, flags: int) -> int:
        resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
        try:
            return openat2(self._top, path, os.O_RDONLY | flags, resolve)
        except PermissionError:
            self.unreadable.append(path)
        except OSError:
            pass
        return -1


def releases(tree: Tree, directory: str) -> Iterator[Dated]:
    """The dates of apt's Release files in `directory`."""
    for name in tree.names(directory):
        if name.endswith("Release"):
            date = release_date(tree.read(f"{directory}/{name}"))
            if date is not None:
                yield Dated(date, f"{directory}/{name}", "Release file")


def release_date(text: bytes) -> int | None:
    """The date in a Release file, in seconds since 1970."""
    found = re.search(_RELEASE_DATE, text)
    return None if found is None else _seconds(found)


def keys(tree: Tree, directory: str) -> Iterator[Dated]:
    """The youngest key of each keyring in `directory`."""
    for name in tree.names(directory):
        if name.endswith((".gpg", ".asc", ".kbx", ".pgp")) or name.startswith("RPM-GPG-KEY"):
            times = key_times(tree.read(f"{directory}/{name}"))
            if times:
                yield Dated(max(times), f"{directory}/{name}", "key")


def changelogs(tree: Tree) -> Iterator[Dated]:
    """The last entries of the changelogs of Debian's packages."""
    import zlib

    for package in tree.names(_DOC):
        for name in ("changelog.Debian.gz", "changelog.gz"):
            path = f"{_DOC}/{package}/{name}"
            packed = tree.read(path, _CHANGELOG_HEAD)
            try:
                text = zlib.decompressobj(31).decompress(packed, _CHANGELOG_HEAD)
            except zlib.error:
                continue
            found = re.search(_TRAILER, text)
            if found is not None:
                yield Dated(_seconds(found), path, "changelog")


def newest_of_each(tree: Tree) -> list[Dated]:
    """The newest Release file, key and changelog of a root, the newest of them first."""
    kinds: list[Callable[[], list[Dated]]] = [
        lambda: list(releases(tree, LISTS)),
        lambda: [found for directory in KEYRINGS for found in keys(tree, directory)],
        lambda: list(changelogs(tree)),
    ]
    return sorted((max(found) for kind in kinds if (found := kind())), reverse=True)


def iso(seconds: int) -> str:
    """The time as ISO 8601 writes it, in UTC."""
    days, rest = divmod(seconds, 86400)
    # Civil from days, proleptic Gregorian calendar (Howard Hinnant's algorithms).
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def _seconds(match: re.Match[bytes]) -> int:
    day, month, year, hour, minute, second, zone = match.groups()
    number = _MONTHS.index(month) + 1 if month in _MONTHS else 1
    seconds = _days(int(year), number, int(day)) * 86400
    seconds += int(hour) * 3600 + int(minute) * 60 + int(second)
    if zone and zone[:1] in b"+-":
        offset = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
        seconds -= offset if zone[:1] == b"+" else -offset
    return max(0, seconds)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970, by the inverse of what `iso` does."""
    year -= month <= 2
    era, in_era = divmod(year, 400)
    in_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + in_era * 365 + in_era // 4 - in_era // 100 + in_year - 719468
