"""nsbuild install-chroot: be what `chroot` means, for the machine or for one root."""

from __future__ import annotations

import sys

from nsbuild.cli.standin import standin_of

_SUMMARY = "Make `chroot` mean `nsbuild chroot`, on this machine or inside ROOT."


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    sys.stdout.write(standin_of("install-chroot", _SUMMARY, arguments).install() + "\n")
    return 0
