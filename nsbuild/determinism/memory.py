"""How much memory the machine has, as every file and every call says it, in bytes."""

from __future__ import annotations

MEMORY_TOTAL = 4 << 30
MEMORY_FREE = 3 << 30
