"""The rules of a container: what its user has chosen of that on which the answers depend."""

from __future__ import annotations

from typing import NamedTuple

from nsbuild.determinism.clock import Clock, GlobalClock, Rates
from nsbuild.determinism.continuation import Earlier
from nsbuild.determinism.entropy import Stream, root_seed
from nsbuild.determinism.names import ROOT, ROOT_PID

from .continuation import resume
from .processes import Process


class Rules(NamedTuple):
    """What the answers depend on: chosen by the user, the same on every machine."""

    rates: Rates = Rates()
    seed: int = 0
    global_clock: bool = False
    names: tuple[str, str, str] = ("", "", "")
    """release, version and machine of uname."""
    earlier: Earlier | None = None
    """What earlier calls of the same build left; None for a build of one call."""


def root_process(rules: Rules) -> Process:
    """The command's process, of which all others descend but those that come in later."""
    clock = GlobalClock(rules.rates) if rules.global_clock else Clock(rules.rates)
    root = Process(ROOT, ROOT_PID, clock, Stream(root_seed(rules.seed)))
    root.orphan = True
    if rules.earlier is not None:
        resume(root, rules.earlier)
    return root
