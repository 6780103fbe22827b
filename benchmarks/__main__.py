"""Runs the benchmarks named on the command line, or all of them."""

from __future__ import annotations

import compileall
import importlib
import os
import sys

from benchmarks.common import NSBUILD, REPO, CannotMeasure

NAMES = ("startup", "notify", "signals", "interleaving", "hello")


def main() -> int:
    """Run them one after another; the exit status says whether nsbuild could be measured."""
    names = sys.argv[1:] or list(NAMES)
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"benchmarks: no {', '.join(sorted(unknown))}; there are: {' '.join(NAMES)}")
        return 2
    quick = bool(os.environ.get("QUICK"))
    # As pip leaves what it installs. Where PYTHONDONTWRITEBYTECODE is set, a checkout would else be
    # compiled anew by every start.
    compileall.compile_dir(REPO / "nsbuild", quiet=1)
    print(f"nsbuild is {NSBUILD}; {os.cpu_count()} CPUs, {os.uname().release}; lower is better")
    status = 0
    for name in names:
        try:
            importlib.import_module(f"benchmarks.bench_{name}").main(quick)
        except CannotMeasure as error:
            print(f"bench_{name}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
