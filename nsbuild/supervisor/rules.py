"""The rules of a container: what its user has chosen of that on which the answers depend."""

from __future__ import annotations

from typing import NamedTuple

from nsbuild.determinism.clock import Rates
from nsbuild.determinism.continuation import Earlier


class Rules(NamedTuple):
    """What the answers depend on: chosen by the user, the same on every machine."""

    rates: Rates = Rates()
    seed: int = 0
    global_clock: bool = False
    names: tuple[str, str, str] = ("", "", "")
    """release, version and machine of uname."""
    earlier: Earlier | None = None
    """What earlier calls of the same build left; None for a build of one call."""
