"""What a whole run of `nsbuild exec` loads, in every process of nsbuild and lazily too."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.test_house import SLOW_IMPORTS


def run_and_list_imports() -> set[str]:
    """The modules that `nsbuild exec / true` imports."""
    command = [sys.executable, "-X", "importtime", "-m", "nsbuild", "exec", "/", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_a_run_loads_nothing_slow() -> None:
    # The first run may compile the filter, which takes libseccomp's binding; later ones find it.
    run_and_list_imports()
    loaded = run_and_list_imports()
    assert "nsbuild.supervisor.loop" in loaded
    assert not loaded & (SLOW_IMPORTS | {"shutil", "lzma", "bz2", "sqlite3", "threading"})


@pytest.mark.parametrize("verb", ["exec", "run"])
def test_the_front_leaves_the_supervisor_to_its_process(verb: str) -> None:
    """What answers is loaded beside the container's set-up, and by nobody who only describes it."""
    script = f"import sys, nsbuild.cli.{verb}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "nsbuild.container.launch" in loaded
    answering = {"nsbuild.supervisor.loop", "nsbuild.supervisor.processes"}
    assert not loaded & (answering | {"nsbuild.container.serving", "shutil", "threading"})
    assert not [name for name in loaded if name.startswith("nsbuild.supervisor.answers")]
