"""What all tests share: where the checkout is."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top of the source tree."""
    return Path(__file__).resolve().parent.parent
