"""nsbuild install-chroot: be what `chroot` or `systemd-nspawn` means, for the machine or a root."""

from __future__ import annotations

import sys

from nsbuild.cli.standin import standin_of

_SUMMARY = "Make `chroot` (or `systemd-nspawn`) mean nsbuild's, on this machine or inside ROOT."


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    sys.stdout.write(standin_of("install-chroot", _SUMMARY, arguments).install() + "\n")
    return 0
