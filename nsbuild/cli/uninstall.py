"""nsbuild uninstall-chroot: the way back from install-chroot."""

from __future__ import annotations

import sys

from nsbuild.cli.standin import standin_of

_SUMMARY = "Make `chroot` (or `systemd-nspawn`) mean what it meant before `nsbuild install-chroot`."


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    sys.stdout.write(standin_of("uninstall-chroot", _SUMMARY, arguments).uninstall() + "\n")
    return 0
