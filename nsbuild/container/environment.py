"""The environment that a command starts with: the same everywhere, and one job at a time.

Nothing of the caller's environment gets in unless it is asked for, since each variable is an input
to the build.
"""

from __future__ import annotations

from collections.abc import Mapping

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

ONE_JOB = {
    "MAKEFLAGS": "-j1",
    "RPM_BUILD_NCPUS": "1",
    "CMAKE_BUILD_PARALLEL_LEVEL": "1",
    "CTEST_PARALLEL_LEVEL": "1",
    "CARGO_BUILD_JOBS": "1",
}
"""What build tools take the number of their jobs from."""


def base_environment(epoch: int, term: str | None) -> dict[str, str]:
    """The clean environment; `epoch` in seconds, `term` the terminal's type if there is one."""
    environment = {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(epoch),
        **ONE_JOB,
    }
    if term is not None:
        environment["TERM"] = term
    return environment


def compose(
    base: Mapping[str, str], host: Mapping[str, str] | None, asked: Mapping[str, str]
) -> dict[str, str]:
    """`base`, then the host's variables if wanted, then those `asked` for by name.

    DEB_BUILD_OPTIONS is a list: parallel=1 joins whatever else is in it, unless it says already.
    """
    environment = {**base, **(host or {}), **asked}
    options = environment.get("DEB_BUILD_OPTIONS", "").split()
    if not any(option.startswith("parallel=") for option in options):
        options.append("parallel=1")
    environment["DEB_BUILD_OPTIONS"] = " ".join(options)
    return environment
