"""Fixtures of the system tests: the built guests, and a runner for each kind of account."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.build import build
from tests.system import account
from tests.system.capabilities import needs, needs_fuse_for_everybody, needs_tools
from tests.system.harness import Runner


@pytest.fixture(scope="session")
def stage() -> Iterator[Path]:
    """A directory that everybody can read, with the guests and a copy of the package."""
    with account.staging(build()) as directory:
        yield directory


def _interpreter_is_public() -> bool:
    path = Path(account.interpreter())
    modes = [os.stat(parent).st_mode for parent in path.parents]
    return all(mode & stat.S_IXOTH for mode in modes)


@pytest.fixture(scope="session")
def root(stage: Path) -> Runner:
    """nsbuild run by root."""
    needs("root", os.getuid() == 0)
    return Runner(account.current(), stage)


@pytest.fixture(scope="session")
def user(stage: Path) -> Runner:
    """nsbuild run by an ordinary user with subordinate ids: whoever runs the tests, or our own."""
    needs_fuse_for_everybody()
    if os.getuid():
        return Runner(account.current(), stage)
    needs_tools("setpriv", "useradd", "newuidmap")
    needs("a Python that other users can run", _interpreter_is_public())
    return Runner(account.ordinary(), stage)


@pytest.fixture(scope="session", params=["root", "user"])
def ns(request: pytest.FixtureRequest) -> Runner:
    """nsbuild run by root, then by an ordinary user."""
    runner = request.getfixturevalue(request.param)
    assert isinstance(runner, Runner)
    return runner


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where root and a user take turns, only root runs a guest in each C library's build.

    What the build changes happens above system calls, and so in the same way for both.
    """
    if os.getuid():
        return
    left_out = [item for item in items if _is_users_other_build(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_users_other_build(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    if call is None or call.params.get("ns") != "user":
        return False
    return str(call.params.get("guest", "")).endswith(("-static", "-musl"))


@pytest.fixture
def guest(ns: Runner, request: pytest.FixtureRequest) -> str:
    """The path of the guest that the test names by indirect parametrisation."""
    needs(f"a compiler for the guest {request.param}", ns.has(request.param))
    return ns.guest(request.param)
