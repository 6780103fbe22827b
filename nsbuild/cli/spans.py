"""Spans of time and moments as Podman words them: "2 minutes ago", RFC 3339."""

from __future__ import annotations

import time

_UNITS = (
    (2 * 365 * 86400, 365 * 86400, "years"),
    (60 * 86400, 30 * 86400, "months"),
    (14 * 86400, 7 * 86400, "weeks"),
    (48 * 3600, 86400, "days"),
    (2 * 3600, 3600, "hours"),
    (120, 60, "minutes"),
)
"""From how many seconds on a unit is used, and its length."""


def span(nanoseconds: int) -> str:
    """A span in words, as docker's units.HumanDuration has it."""
    seconds = nanoseconds // 1_000_000_000
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if seconds < 120:
        return "About a minute"
    if 3600 <= (seconds + 1800) // 3600 * 3600 < 7200 and seconds >= 3600:
        return "About an hour"
    for least, length, name in _UNITS:
        if seconds >= least:
            return f"{seconds // length} {name}"
    return "About an hour"


def ago(moment: int) -> str:
    """How long the moment is past, nanoseconds since 1970."""
    return f"{span(time.time_ns() - moment)} ago"


def stamp(moment: int, between: str = "T", zone: str = "Z") -> str:
    """A moment in UTC with nanoseconds; Go's zero time for 0."""
    if not moment:
        return f"0001-01-01{between}00:00:00{zone}"
    seconds, rest = divmod(moment, 1_000_000_000)
    day, clock = (time.strftime(form, time.gmtime(seconds)) for form in ("%Y-%m-%d", "%H:%M:%S"))
    fraction = f".{rest:09}".rstrip("0").rstrip(".")
    return f"{day}{between}{clock}{fraction}{zone}"
