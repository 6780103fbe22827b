"""Users of the container, from its own passwd(5) and group(5), which are read as plain files.

The C library's name service would load modules and configuration of whatever root we are in.
"""

from __future__ import annotations

from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple


class User(NamedTuple):
    """Ids, supplementary groups, and what the environment says of a user."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str
    shell: str


def find_user(wanted: str | None) -> User:
    """USER[:GROUP], by name or number; root where none is asked for.

    A number need not be in passwd. Raises NsbuildError for a name that is not.
    """
    name, _, group = (wanted or "0").partition(":")
    entry = named("/etc/passwd", name, 7) or numbered("/etc/passwd", name, 7)
    if entry is not None:
        uid, gid = int(entry[2]), int(entry[3])
        user = User(uid, gid, (), entry[0], entry[5] or "/", entry[6] or "/bin/sh")
    elif name.isdigit():
        home = "/root" if name == "0" else "/"
        user = User(int(name), 0, (), "root" if name == "0" else name, home, "/bin/sh")
    else:
        raise NsbuildError(
            f"no user {name!r} in the container", "its /etc/passwd has no such line; use a number"
        )
    if group:
        return user._replace(gid=_group(group))
    return user._replace(groups=memberships(user.name))


def _group(wanted: str) -> int:
    entry = named("/etc/group", wanted, 4) or numbered("/etc/group", wanted, 4)
    if entry is not None:
        return int(entry[2])
    if wanted.isdigit():
        return int(wanted)
    raise NsbuildError(
        f"no group {wanted!r} in the container", "its /etc/group has no such line; use a number"
    )


def _lines(path: str, fields: int) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return []
    # The ids are the third and, in passwd, the fourth field; a line without them is no entry.
    return [
        line
        for line in lines
        if len(line) == fields and line[2].isdigit() and (fields == 4 or line[3].isdigit())
    ]


def named(path: str, name: str, fields: int) -> list[str] | None:
    """The line of passwd(5) or group(5), which have 7 and 4 fields, that begins with `name`."""
    return next((line for line in _lines(path, fields) if line[0] == name), None)


def numbered(path: str, number: str, fields: int) -> list[str] | None:
    """The line whose id is `number`."""
    return next((line for line in _lines(path, fields) if line[2] == number), None)


def memberships(name: str) -> tuple[int, ...]:
    """The groups that list `name` among their members."""
    return tuple(int(line[2]) for line in _lines("/etc/group", 4) if name in line[3].split(","))
