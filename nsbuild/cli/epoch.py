"""nsbuild epoch: when a root's clock has to begin, so that apt and gpg accept what is in it."""

from __future__ import annotations

import sys

from nsbuild.cli.parser import Parser
from nsbuild.container.epochs import Tree, iso, newest_of_each
from nsbuild.errors import NsbuildError, warn

_DESCRIPTION = """\
Print the newest date of apt's Release files, of the keys and of the Debian changelogs in the root
directory TARGET, in seconds since 1970, as --epoch takes it.
"""


def make_parser() -> Parser:
    """The parser of `nsbuild epoch`."""
    parser = Parser(
        prog="nsbuild epoch",
        usage="nsbuild epoch [--verbose] TARGET",
        description=_DESCRIPTION,
        epilog="See nsbuild-epoch(1).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--verbose", action="store_true", help="say on stderr where it comes from")
    add("target", metavar="TARGET", help="a root directory")
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    options = make_parser().parse_args(arguments)
    tree = Tree(options.target)
    found = newest_of_each(tree)
    if tree.unreadable:
        more = len(tree.unreadable) - 1
        others = f" and {more} more" if more else ""
        warn(f"may not read {tree.unreadable[0]}{others} in {options.target}: left out")
    if not found:
        raise NsbuildError(
            f"nothing in {options.target} has a date: no Release file of apt, no key, no changelog",
            "give the root directory of a system, or choose an epoch yourself",
        )
    if options.verbose:
        for dated in found:
            warn(f"{dated.seconds} ({iso(dated.seconds)}): {dated.what}, {dated.path}")
    sys.stdout.write(f"{found[0].seconds}\n")
    return 0
