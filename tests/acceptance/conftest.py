"""The acceptance tests run nsbuild as the system tests do: as root and as an ordinary user."""

from tests.system.conftest import ns, root, stage, user

__all__ = ["ns", "root", "stage", "user"]
