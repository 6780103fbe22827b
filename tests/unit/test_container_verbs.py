"""The verbs about containers: what they offer is in their pages, and what they take makes sense."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from nsbuild.cli import runvalues
from nsbuild.cli.podman import PodmanParser
from nsbuild.cli.runspec import make_parser
from nsbuild.container.spec import Tmpfs, Volume
from nsbuild.errors import NsbuildError

PAGES = Path(__file__).resolve().parents[2] / "docs/man"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_NAMES = "attach commit cp diff export kill logs ps rm start stop top wait"
VERBS = _NAMES.split()


def offered(parser: PodmanParser) -> set[str]:
    """The long options that its help shows."""
    return set(OPTION.findall(parser.format_help()))


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_in_the_page(verb: str) -> None:
    page = (PAGES / "nsbuild-container.1.md").read_text()
    parser = importlib.import_module(f"nsbuild.cli.{verb}").make_parser()
    assert offered(parser) - set(OPTION.findall(page)) == set()


@pytest.mark.parametrize("verb", ["run", "create"])
def test_every_option_of_run_is_in_its_page(verb: str) -> None:
    page = (PAGES / "nsbuild-run.1.md").read_text()
    assert offered(make_parser(verb)) - set(OPTION.findall(page)) == set()


def test_mounts() -> None:
    assert runvalues.volume("/a:/b") == Volume("/a", "/b")
    assert runvalues.volume("/a:/b:ro,Z") == Volume("/a", "/b", True)
    bind = runvalues.mount("type=bind,src=/a,dst=/b,readonly")
    assert bind == Volume("/a", "/b", True)
    assert runvalues.mount("type=tmpfs,target=/x,tmpfs-size=1m") == Tmpfs("/x", "size=1m")
    for wrong in ("/a", "/a:/b:what", "/a:b"):
        with pytest.raises(NsbuildError):
            runvalues.volume(wrong)
    for wrong in ("type=bind,src=/a,dst=b", "type=other,dst=/b", "type=bind,src=/a,dst=/b,x=y"):
        with pytest.raises(NsbuildError):
            runvalues.mount(wrong)


def test_capabilities() -> None:
    by_default = runvalues.bounding([], [], False)
    assert by_default is not None
    assert len(by_default) == len(runvalues.DEFAULT_CAPABILITIES)
    assert runvalues.bounding(["all"], [], False) is None
    assert runvalues.bounding([], [], True) is None
    assert runvalues.bounding([], ["ALL"], True) == frozenset()
    assert runvalues.bounding(["CAP_KILL,chown"], ["all"], False) == frozenset((0, 5))
    with pytest.raises(NsbuildError):
        runvalues.bounding(["fly"], [], False)


def test_signals_and_limits() -> None:
    assert [runvalues.signal_number(text) for text in ("9", "KILL", "sigterm", "RTMIN+3")] == [
        9,
        9,
        15,
        37,
    ]
    for wrong in ("0", "99", "NOSUCH", "RTMIN+99"):
        with pytest.raises(NsbuildError):
            runvalues.signal_number(wrong)
    assert runvalues.ulimit("nofile=10:20")[1:] == (10, 20)
    assert runvalues.ulimit("core=-1")[1:] == (-1, -1)
    for wrong in ("nofile", "nosuch=1", "nofile=2:1", "nofile=x"):
        with pytest.raises(NsbuildError):
            runvalues.ulimit(wrong)
