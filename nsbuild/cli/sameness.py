"""The options about determinism, for the verbs that have them on their command line."""

from __future__ import annotations

import argparse
from typing import Any

from nsbuild.cli.rules import CLOCKS, POLICIES
from nsbuild.cli.settings import DEFAULTS
from nsbuild.container import cpumodel


def add_determinism(parser: argparse.ArgumentParser, leave_out: tuple[str, ...] = ()) -> None:
    """The options about determinism, but those of `leave_out`."""
    group = parser.add_argument_group("what the command sees")

    def add(name: str, **rest: Any) -> None:  # noqa: ANN401 - as add_argument has it
        if name.removeprefix("--") not in leave_out:
            group.add_argument(name, **rest)

    add("--epoch", metavar="TIME", help="first time read: seconds since 1970 or ISO 8601")
    add("--step", metavar="SPAN", help="what each read of the wall clock adds (1)")
    add("--monotonic-step", metavar="SPAN", help="the same for monotonic time (1ms)")
    add("--seed", metavar="N", help="what all random streams follow from (0)")
    add("--clock", choices=CLOCKS, help="one clock a process, or one (causal)")
    add("--state", metavar="DIR", help="go on where the last call with DIR has stopped")
    add("--cpu", metavar="N|auto", help="the CPU to run on (auto)")
    add("--cpu-model", choices=cpumodel.MODELS, help="what is known of that CPU (host)")
    add("--sched", choices=POLICIES, help="scheduling policy (auto)")
    add("--spin-bound", metavar="SPAN", help="CPU time a spinning thread may keep (5)")
    add("--profile", metavar="NAME|FILE", help="seccomp profile")
    add("--hostname", help=f"({DEFAULTS['hostname']})")
    add("--domainname", help=f"({DEFAULTS['domainname']})")
    add("--machine-id", help="32 hexadecimal digits")
    add("--uname-release", help=f"({DEFAULTS['uname-release']})")
    add("--uname-version", help=f"({DEFAULTS['uname-version']})")
