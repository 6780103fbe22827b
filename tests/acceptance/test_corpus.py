"""Every project of the corpus differs bare and is equal under nsbuild: see corpus.py.

A build that hangs is killed from outside by corpus.py itself, long before pytest would give up.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.acceptance.corpus import CORPUS, SECONDS, Project, compare, projects
from tests.system.account import CHECKOUT
from tests.system.capabilities import needs
from tests.system.harness import PATH

PROJECTS = projects()


def listed(variable: str) -> set[str]:
    """The Debian packages in a variable of the Makefile."""
    makefile = (CHECKOUT / "Makefile").read_text().replace("\\\n", " ")
    return set(re.findall(rf"^{variable} := (.*)$", makefile, re.MULTILINE)[0].split())


def is_installed(package: str) -> bool:
    """Whether dpkg says so."""
    command = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return done.stdout == b"installed"


def test_there_are_enough_of_them() -> None:
    assert len(PROJECTS) >= 50
    assert {path.name for path in CORPUS.iterdir()} == {project.name for project in PROJECTS}


def test_setup_installs_what_they_need_and_no_more() -> None:
    """Beyond what is essential, and so on every machine of Debian."""
    needed = {package for project in PROJECTS for package in project.packages}
    assert needed <= listed("PACKAGES") | listed("CORPUS_PACKAGES")
    assert listed("CORPUS_PACKAGES") <= needed
    commands = {command for project in PROJECTS for command in project.commands}
    assert listed("CORPUS_COMMANDS") == commands


@pytest.mark.timeout(4 * SECONDS + 60)
@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_project_is_equal_twice_under_nsbuild_only(project: Project) -> None:
    for package in project.packages:
        needs(f"the Debian package {package}", is_installed(package))
    for command in project.commands:
        needs(f"the command {command}", shutil.which(command, path=PATH) is not None)
    if project.threads:
        needs("root, for SCHED_FIFO", os.getuid() == 0)
    result = compare(project)
    assert result.inside == ()
    assert result.bare != ()
