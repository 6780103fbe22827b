"""Id maps of the user namespace: full identity as root, else what the host lends to the user.

As root every id keeps its number, so files keep their owners. An ordinary user gets root and the
ranges of subuid(5) through newuidmap(1), or, where there are none, root alone.
"""

from __future__ import annotations

import os
import pwd

from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple


class IdMap(NamedTuple):
    """Lines of user_namespaces(7): first id inside, first id outside, count."""

    lines: tuple[tuple[int, int, int], ...]

    def text(self) -> str:
        """As it is written to uid_map."""
        return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in self.lines)

    def words(self) -> list[str]:
        """As newuidmap(1) takes it."""
        return [str(number) for line in self.lines for number in line]


class IdMaps(NamedTuple):
    """Both maps, and whether the set-uid helpers must write them."""

    uids: IdMap
    gids: IdMap
    by_helper: bool
    warning: str = ""

    def describe(self) -> str:
        """For --debug."""
        how = "newuidmap" if self.by_helper else "directly"
        return f"map user ids {self.uids.words()} and group ids {self.gids.words()} {how}"


def plan_id_maps() -> IdMaps:
    """What this user may map."""
    if os.geteuid() == 0:
        return IdMaps(_own_ids("uid"), _own_ids("gid"), False)
    uid, gid = os.geteuid(), os.getegid()
    ranges = _subordinate("/etc/subuid", uid), _subordinate("/etc/subgid", uid)
    if all(ranges) and _installed("newuidmap") and _installed("newgidmap"):
        uids, gids = (
            IdMap(((0, own, 1), *_stack(lent)))
            for own, lent in zip((uid, gid), ranges, strict=True)
        )
        return IdMaps(uids, gids, True)
    return IdMaps(
        IdMap(((0, uid, 1),)),
        IdMap(((0, gid, 1),)),
        False,
        "only your own user and group exist inside; for more, install newuidmap and give yourself "
        f"a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {_name(uid)}",
    )


def write_id_maps(maps: IdMaps, pid: int) -> None:
    """Write the maps of `pid`'s fresh user namespace, from its parent namespace."""
    if maps.by_helper:
        _run_helper("newuidmap", pid, maps.uids)
        _run_helper("newgidmap", pid, maps.gids)
        return
    try:
        if os.geteuid() != 0:
            # Without it an unprivileged gid map is refused: a group may also take rights away.
            _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/uid_map", maps.uids.text())
        _write(f"/proc/{pid}/gid_map", maps.gids.text())
    except OSError as error:
        raise NsbuildError.from_os("cannot map user ids", error) from error


def _installed(program: str) -> bool:
    return any(os.access(os.path.join(place, program), os.X_OK) for place in os.get_exec_path())


def _own_ids(kind: str) -> IdMap:
    """Identity over all ids that exist in our own user namespace."""
    with open(f"/proc/self/{kind}_map") as file:
        return IdMap(
            tuple(
                (int(inside), int(inside), int(count))
                for inside, _, count in (line.split() for line in file)
            )
        )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _subordinate(path: str, uid: int) -> list[tuple[int, int]]:
    """The ranges (first, count) that subuid(5) gives to `uid`."""
    owners = {str(uid), _name(uid)}
    ranges = []
    try:
        with open(path) as file:
            for line in file:
                fields = line.strip().split(":")
                if len(fields) == 3 and fields[0] in owners and fields[1].isdigit():
                    ranges.append((int(fields[1]), int(fields[2])))
    except OSError:
        return []
    return ranges


def _stack(ranges: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    lines = []
    inside = 1
    for first, count in ranges:
        lines.append((inside, first, count))
        inside += count
    return lines


def _run_helper(helper: str, pid: int, id_map: IdMap) -> None:
    child = os.posix_spawnp(helper, [helper, str(pid), *id_map.words()], os.environ)
    _, status = os.waitpid(child, 0)
    if status:
        raise NsbuildError(
            f"{helper} failed with exit status {os.waitstatus_to_exitcode(status)}",
            "see its message above, and the ranges in /etc/subuid and /etc/subgid",
        )


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
