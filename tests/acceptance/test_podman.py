"""A session of Podman's commands gives the same with nsbuild, field by field."""

from __future__ import annotations

import os

import pytest

from tests.acceptance.podman.compare import compare
from tests.system.capabilities import needs, needs_tools


@pytest.mark.slow
def test_the_session_is_podmans() -> None:
    needs("root", os.getuid() == 0)
    needs_tools("podman", "runc")
    try:
        found = compare()
    except RuntimeError as error:
        needs(f"a Podman that works: {error}", False)
        raise
    assert found == []
