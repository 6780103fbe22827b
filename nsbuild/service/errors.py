"""What a client is told when something fails: a status and words, as both APIs have them."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that is an error: `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def document(self) -> dict[str, Any]:
        """`message` is all that Docker has; the others are Podman's."""
        return {"message": self.message, "cause": self.message, "response": self.status}
