"""SHA-1 of a few bytes: Python's own, which hashlib keeps for machines without OpenSSL.

OpenSSL's is faster for much data. For the 20 to 40 bytes that make a name or a block of a stream
most of its time goes to setting up, in code that the guest has pushed out of the caches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha1
else:
    try:
        from _sha1 import sha1
    except ImportError:
        # An implementation detail of CPython, which another may lack.
        from hashlib import sha1

__all__ = ["sha1"]
