"""What shells complete behind nsbuild, asked of the shells themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nsbuild.cli import VERBS
from tests.system.capabilities import needs_tools
from tests.system.harness import TIMEOUT, Runner

ASK = {
    "bash": (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nsbuild; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    ),
    # zsh's own functions want a line editor; these say what they are told.
    "zsh": (
        'compdef() { :; }; compadd() { shift; print -rl -- "$@"; }; _files() { print -r files; }; '
        'source "$1"; shift; words=("$@"); CURRENT=$#; _nsbuild'
    ),
    "fish": 'source $argv[1]; complete -C "$argv[2..]" | string split -f 1 \\t',
}


@pytest.fixture(scope="module", params=list(ASK))
def script(request: pytest.FixtureRequest, root: Runner) -> tuple[str, Path]:
    """A shell, and the file with what nsbuild has printed for it."""
    needs_tools(request.param)
    path = root.directory() / "completion"
    path.write_bytes(root.outside(root.command("completion", request.param)).ok().stdout)
    return request.param, path


def offered(script: tuple[str, Path], *typed: str, path: str = "/usr/bin:/bin") -> set[str]:
    """What the shell offers for the last of the words `typed`."""
    shell, file = script
    bare = {"zsh": ["-f"], "fish": ["--no-config"], "bash": ["--norc"]}[shell]
    argv = [shell, *bare, "-c", ASK[shell], *(() if shell == "fish" else ("sh",))]
    done = subprocess.run(
        [*argv, str(file), *typed],
        env={"PATH": path, "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_all_verbs(script: tuple[str, Path]) -> None:
    assert set(VERBS) <= offered(script, "nsbuild", "")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["nsbuild", "ru"], "run"),
        (["nsbuild", "run", "--deta"], "--detach"),
        (["nsbuild", "exec", "--see"], "--seed"),
        (["nsbuild", "chroot", "--user"], "--userspec"),
        (["nsbuild", "image", "boot"], "bootstrap"),
        (["nsbuild", "image", "inspect", "--sb"], "--sbom"),
        (["nsbuild", "container", "pru"], "prune"),
        (["nsbuild", "container", "ls", "--no-t"], "--no-trunc"),
        (["nsbuild", "system", "serv"], "service"),
    ],
)
def test_words(script: tuple[str, Path], typed: list[str], expected: str) -> None:
    assert expected in offered(script, *typed)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["nsbuild", "stop", ""], {"ps"}),
        (["nsbuild", "rmi", ""], {"images"}),
        (["nsbuild", "inspect", ""], {"ps", "images"}),
        (["nsbuild", "container", "rm", ""], {"ps"}),
        (["nsbuild", "image", "rm", ""], {"images"}),
    ],
)
def test_names(
    script: tuple[str, Path], root: Runner, typed: list[str], expected: set[str]
) -> None:
    """A stand-in for nsbuild says which list it was asked for."""
    place = root.directory()
    (place / "nsbuild").write_text("#!/bin/sh\necho $1\n")
    (place / "nsbuild").chmod(0o755)
    found = offered(script, *typed, path=f"{place}:/usr/bin:/bin")
    assert found & {"ps", "images"} == expected


def test_another_shell_is_refused(root: Runner) -> None:
    outcome = root.outside(root.command("completion", "csh"))
    assert outcome.code == 125
    assert "invalid choice: 'csh'" in outcome.complaint
