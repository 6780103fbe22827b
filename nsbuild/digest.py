"""SHA-256 of what fits into memory: Python's own, which hashlib keeps for machines without OpenSSL.

hashlib loads OpenSSL, which takes 2 to 3 ms of a start that reads a few kilobytes of manifests and
sources. Who reads layers wants hashlib's, which is faster for much data.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha256 import sha256
    except ImportError:
        try:
            # Its name since Python 3.12.
            from _sha2 import sha256
        except ImportError:
            # An implementation detail of CPython, which another may lack.
            from hashlib import sha256

__all__ = ["sha256"]
