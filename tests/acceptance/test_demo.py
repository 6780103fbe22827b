"""The demo is a promise to whoever types `make demo`, so it is run as a test, as it is typed.

The script itself compares the artifacts and fails when one differs; here it must also have compared
what it says it compares.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parent / "demo"


def run_demo(part: str, cache: Path) -> str:
    """Run one part of the demo with its output below `cache`; fail with what it printed."""
    done = subprocess.run(
        ["env", f"NSBUILD_DEMO_CACHE={cache}", DEMO / "run.sh", part],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(done.stdout, pytrace=False)
    return done.stdout


def words_after(name: str, shown: str) -> list[str]:
    """The words of the table line that starts with `name`."""
    lines = [line.split() for line in shown.splitlines() if line.startswith(f"{name} ")]
    assert len(lines) == 1, f"no single line for {name} in:\n{shown}"
    return lines[0][1:]


@pytest.mark.timeout(300)
def test_unreproducible_project_is_equal_under_nsbuild_only(tmp_path: Path) -> None:
    shown = run_demo("unreproducible", tmp_path)
    makefile = (DEMO / "unreproducible" / "Makefile").read_text()
    artifacts = [
        line.removeprefix("out/").split(":")[0]
        for line in makefile.splitlines()
        if line.startswith("out/")
    ]
    assert len(artifacts) >= 14
    for artifact in artifacts:
        assert words_after(artifact, shown)[:2] == ["different", "equal"], shown


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_debian_hello_is_equal_twice(tmp_path: Path) -> None:
    shown = run_demo("hello", tmp_path)
    names = [line.split()[0] for line in shown.splitlines() if line.startswith("hello")]
    suffixes = [name.rpartition(".")[2] for name in names]
    assert sorted(suffixes) == ["buildinfo", "changes", "deb", "deb"], shown
    for name in names:
        assert words_after(name, shown)[-1] == "equal", shown
