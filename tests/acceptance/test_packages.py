"""Two of the packages that `make packages` builds, the quick ones: see packages.py."""

from __future__ import annotations

import pytest

from tests.acceptance.packages import PACKAGES, Package, compare
from tests.system.capabilities import needs_tools

QUICK = [package for package in PACKAGES if package.name in {"dash", "zlib"}]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("package", QUICK, ids=lambda package: package.name)
def test_package_is_equal_twice_under_nsbuild_only(package: Package) -> None:
    needs_tools("apt-get", "dpkg-buildpackage", "dpkg-source")
    result = compare(package, bare_upstream_only=True)
    artifacts = {artifact.name: artifact for artifact in result.artifacts}
    assert {name.rpartition(".")[2] for name in artifacts} >= {"deb", "buildinfo", "changes", "tar"}
    different = [artifact.name for artifact in result.artifacts if not artifact.equal]
    assert not different, "\n".join([*different, *result.changes])
    assert artifacts["upstream.tar"].differs_bare
