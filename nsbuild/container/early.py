"""A hint after a command has failed: its clock was too early for apt or gpg.

What a program has said on its stderr went past us. But apt locks its lists before it does anything,
and leaves a Release file that it has refused in `partial`; gpg writes the seed of its random
numbers beside its keyring. So that they have run is seen from the files that were open for writing,
which the supervisor knows anyway, and only then are dates looked for. This is done in the
container's file system, so it sees what the command saw; nothing may be imported by then.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from nsbuild.container.epochs import KEYRINGS, Dated, Tree, iso, keys, releases
from nsbuild.determinism.clock import NSEC_PER_SEC

_LISTS = b"/apt/lists/"
_OF_GPG = frozenset((b"random_seed", b"trustdb.gpg", b"pubring.kbx", b"pubring.gpg"))


def hint(written: Iterable[bytes], wall: int) -> str | None:
    """What to tell the user; `written` are absolute paths, `wall` the last time, nanoseconds."""
    lists, homes = set(), set()
    for path in written:
        directory, _, name = path.rpartition(b"/")
        if _LISTS in path:
            lists.add(os.fsdecode(path[: path.index(_LISTS) + len(_LISTS) - 1]))
        elif name in _OF_GPG:
            homes.add(os.fsdecode(directory))
    if not lists and not homes:
        return None
    # Behind a link there may be a file that we have served: nobody would answer us.
    tree = Tree("/", follow=False)
    found: list[Dated] = []
    for place in sorted(lists):
        found.extend((*releases(tree, place), *releases(tree, f"{place}/partial")))
    if lists:
        found.extend(key for place in KEYRINGS for key in keys(tree, place))
    in_homes = [key for home in sorted(homes) for key in keys(tree, home)]
    tree.close()
    now = wall // NSEC_PER_SEC
    newest = max((*found, *in_homes), default=None)
    if newest is not None and newest.seconds > now:
        return (
            f"the clock ended at {iso(now)}, before the {newest.what} {newest.path} of "
            f"{iso(newest.seconds)}: if that was refused, use --epoch={newest.seconds} or later"
        )
    if homes and not in_homes:
        return (
            f"the clock ended at {iso(now)}, and gpg has no key in {min(homes)}: "
            "if it refused one as made in the future, use a later --epoch"
        )
    return None
