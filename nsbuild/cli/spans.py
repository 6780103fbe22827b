"""Moments on record, which are nanoseconds since 1970, as Podman words them."""

from __future__ import annotations

import time

from nsbuild.cli.human import span


def ago(moment: int) -> str:
    """How long the moment is past."""
    return f"{span(max(0.0, (time.time_ns() - moment) / 1e9))} ago"


def stamp(moment: int, between: str = "T", zone: str = "Z") -> str:
    """A moment in UTC with nanoseconds; Go's zero time for 0."""
    if not moment:
        return f"0001-01-01{between}00:00:00{zone}"
    seconds, rest = divmod(moment, 1_000_000_000)
    day, clock = (time.strftime(form, time.gmtime(seconds)) for form in ("%Y-%m-%d", "%H:%M:%S"))
    fraction = f".{rest:09}".rstrip("0").rstrip(".")
    return f"{day}{between}{clock}{fraction}{zone}"
