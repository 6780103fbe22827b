"""Users and groups as chroot(1) looks them up: before the root changes, and again in the new one.

The first look is by the C library, whose name service may know users from a network. The second
reads the new root's own files. A number needs no line in either. Errors have chroot's own words.
"""

from __future__ import annotations

import os

from nsbuild.container import users
from nsbuild.container.quoting import quote
from nsbuild.errors import NsbuildError, report
from nsbuild.tuples import NamedTuple

_NO_ID = (1 << 32) - 1
"""(uid_t) -1, which no user has."""
_MOST = (1 << 64) - 1


class Wanted(NamedTuple):
    """The values of --userspec and --groups; None for an option that was not given."""

    userspec: str | None = None
    groups: str | None = None
    utf8: bool = False
    """Whether messages may have quotation marks beyond ASCII."""


class Found(NamedTuple):
    """Ids, as far as they are known; `groups` are supplementary ones."""

    uid: int | None = None
    gid: int | None = None
    name: str | None = None
    groups: tuple[int, ...] = ()


class Library:
    """What the C library knows of users, in the root that we are in."""

    def user(self, name: str) -> tuple[int, int] | None:
        """Its user and group ids."""
        import pwd

        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return entry.pw_uid, entry.pw_gid

    def by_number(self, uid: int) -> tuple[str, int] | None:
        """Its name and group id."""
        import pwd

        try:
            entry = pwd.getpwuid(uid)
        except (KeyError, OverflowError):
            return None
        return entry.pw_name, entry.pw_gid

    def group(self, name: str) -> int | None:
        """Its id."""
        import grp

        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None

    def memberships(self, name: str, gid: int) -> tuple[int, ...]:
        """`gid` and the groups that `name` is a member of."""
        return tuple(os.getgrouplist(name, gid))


class Files(Library):
    """What passwd(5) and group(5) of the root that we are in say."""

    def user(self, name: str) -> tuple[int, int] | None:
        line = users.named("/etc/passwd", name, 7)
        return None if line is None else (int(line[2]), int(line[3]))

    def by_number(self, uid: int) -> tuple[str, int] | None:
        line = users.numbered("/etc/passwd", str(uid), 7)
        return None if line is None else (line[0], int(line[3]))

    def group(self, name: str) -> int | None:
        line = users.named("/etc/group", name, 4)
        return None if line is None else int(line[2])

    def memberships(self, name: str, gid: int) -> tuple[int, ...]:
        return tuple(dict.fromkeys((gid, *users.memberships(name))))


def look_outside(wanted: Wanted) -> Found:
    """What is known before the root changes; what is not may still be known behind."""
    where = Library()
    found = Found()
    if wanted.userspec:
        found, _ = _parse(wanted.userspec, found, where)
    found = _complete(wanted, found, where)
    if wanted.groups:
        ids, wrong = _listed(wanted.groups, where)
        return found if wrong or not ids else found._replace(groups=ids)
    return _of_user(wanted, found, where)


def look_inside(wanted: Wanted, found: Found) -> Found:
    """What holds in the new root, `found` filling the gaps; raises NsbuildError."""
    where = Files()
    if wanted.userspec:
        found, complaint = _parse(wanted.userspec, found, where)
        if complaint.startswith("warning: "):
            report(complaint)
        elif complaint:
            raise NsbuildError(complaint)
    found = _complete(wanted, found, where)
    if found.uid is not None and found.gid is None:
        raise NsbuildError(f"no group specified for unknown uid: {found.uid}")
    if wanted.groups:
        ids, wrong = _listed(wanted.groups, where)
        if ids and not wrong:
            return found._replace(groups=ids)
        if not found.groups:
            raise NsbuildError(_group_complaint(wanted, wrong))
        return found
    return _of_user(wanted, found, where)


def _group_complaint(wanted: Wanted, wrong: list[str]) -> str:
    if not wrong:
        return f"invalid group list {quote(wanted.groups or '', wanted.utf8)}"
    return "\n".join(f"invalid group {quote(name, wanted.utf8)}" for name in wrong)


def _parse(spec: str, found: Found, where: Library) -> tuple[Found, str]:
    """USER[:[GROUP]]; also what is wrong with it, or "".

    A dot in the place of the colon is understood, with a warning, where no such user exists.
    """
    user, colon, group = spec.partition(":")
    parsed = _parse_parts(user, colon, group, found, where)
    if isinstance(parsed, str) and not colon and "." in spec:
        retried = _parse_parts(*spec.partition("."), found, where)
        if not isinstance(retried, str):
            return retried, "warning: '.' should be ':'"
    return (found, parsed) if isinstance(parsed, str) else (parsed, "")


def _parse_parts(
    user: str, separator: str, group: str, found: Found, where: Library
) -> Found | str:
    uid, gid = found.uid, found.gid
    if user:
        entry = None if user.startswith("+") else where.user(user)
        if entry is not None:
            uid = entry[0]
            if separator and not group:
                gid = entry[1]
        elif separator and not group:
            return "invalid spec"
        else:
            uid = _number(user)
            if uid is None or uid >= _NO_ID:
                return "invalid user"
    if group:
        gid = None if group.startswith("+") else where.group(group)
        if gid is None:
            gid = _number(group)
            if gid is None or gid >= _NO_ID:
                return "invalid group"
    return found._replace(uid=uid, gid=gid)


def _complete(wanted: Wanted, found: Found, where: Library) -> Found:
    """The group and the name of a user of whom the id is known."""
    if found.uid is None or (wanted.groups is not None and found.gid is not None):
        return found
    entry = where.by_number(found.uid)
    if entry is None:
        return found
    name, gid = entry
    return found._replace(name=name, gid=gid if found.gid is None else found.gid)


def _of_user(wanted: Wanted, found: Found, where: Library) -> Found:
    """The supplementary groups of a user by name, where none were asked for."""
    if wanted.groups is None and found.gid is not None and found.name is not None:
        return found._replace(groups=where.memberships(found.name, found.gid))
    return found


def _listed(groups: str, where: Library) -> tuple[tuple[int, ...], list[str]]:
    """The ids of a list such as `users,+27`, and those names in it that mean nothing."""
    ids: list[int] = []
    wrong: list[str] = []
    for word in filter(None, groups.split(",")):
        number = _number(word)
        if number is not None and number <= _NO_ID:
            name = word.lstrip(" \t\n\v\f\r")
            known = None if name.startswith("+") else where.group(name)
        else:
            number = None
            known = where.group(word)
        if known is None and number is None:
            wrong.append(word)
        else:
            ids.append(known if known is not None else number or 0)
    return tuple(ids), wrong


def _number(text: str) -> int | None:
    """An unsigned decimal number as strtoul(3) takes it: blanks and a plus may stand before it."""
    digits = text.lstrip(" \t\n\v\f\r").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 4000:
        return None
    number = int(digits)
    return number if number <= _MOST else None
