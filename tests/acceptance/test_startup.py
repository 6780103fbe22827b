"""What a whole run of `nsbuild exec` loads, in every process of nsbuild and lazily too."""

from __future__ import annotations

import subprocess
import sys

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
    assert not loaded & SLOW_IMPORTS
