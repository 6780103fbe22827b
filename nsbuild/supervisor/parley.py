"""The words that a client and the supervisor of a running container speak: see `entrants`.

By themselves, so that whoever has a word to say need not load who answers.
"""

from __future__ import annotations

from .initlink import EVENT_ERROR

ENTER = b"X"
SIGNAL = b"K"
SETTLE = b"T"
"""Put the virtual times into the files; answered by itself."""
STARTED = b"s"
LEFT = b"x"
ERROR = EVENT_ERROR
