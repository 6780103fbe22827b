"""Sizes and times for people to read, in the words of Podman (github.com/docker/go-units)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEPS: tuple[tuple[int, Callable[[float], str]], ...] = (
    (1, lambda s: "Less than a second"),
    (2, lambda s: "1 second"),
    (60, lambda s: f"{int(s)} seconds"),
    (120, lambda s: "About a minute"),
    (3600, lambda s: f"{s // 60:.0f} minutes"),
    (5400, lambda s: "About an hour"),
    (48 * 3600, lambda s: f"{int(s / 3600 + 0.5)} hours"),
    (14 * 86400, lambda s: f"{s // 86400:.0f} days"),
    (60 * 86400, lambda s: f"{s // (7 * 86400):.0f} weeks"),
    (730 * 86400, lambda s: f"{s // (30 * 86400):.0f} months"),
)


def size(count: int) -> str:
    """`count` bytes, with three digits and a power of 1000."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def span(seconds: float) -> str:
    """A time that has passed."""
    for limit, words in _STEPS:
        if seconds < limit:
            return words(seconds)
    return f"{int(seconds / (365 * 86400))} years"


def ago(moment: datetime, now: float | None = None) -> str:
    """How long ago `moment` was, by the real clock."""
    passed = (time.time() if now is None else now) - moment.timestamp()
    return f"{span(max(passed, 0))} ago"


def moment(text: str) -> datetime:
    """A time as an image's config has it (RFC 3339); 1970 where it has none that makes sense."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def stamp(moment: datetime) -> str:
    """As Go prints a time in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
