"""Who may have SCHED_FIFO: a capability outside, or a limit that holds everywhere."""

from __future__ import annotations

import os
import resource

import prctl
import pytest

from nsbuild.container import cpu
from nsbuild.container.spec import SchedulingSpec
from nsbuild.errors import NsbuildError
from nsbuild.supervisor.initpriority import PRIORITY

FIFO = SchedulingSpec(policy="fifo")


@pytest.mark.parametrize(
    ("sys_admin", "limit", "kept"),
    [
        (True, 0, True),
        (False, 0, False),
        (False, PRIORITY - 1, False),
        (False, PRIORITY, True),
        (False, resource.RLIM_INFINITY, True),
    ],
)
def test_who_joins_a_user_namespace_needs_the_limit(
    monkeypatch: pytest.MonkeyPatch, sys_admin: bool, limit: int, kept: bool
) -> None:
    class Effective:
        pass

    Effective.sys_admin = sys_admin  # type: ignore[attr-defined]
    taken: list[int] = []
    monkeypatch.setattr(prctl, "cap_effective", Effective)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *args: taken.append(args[1]))
    if kept:
        assert cpu.supervise_on(0, FIFO)
        assert taken == [os.SCHED_FIFO]
    else:
        with pytest.raises(NsbuildError, match=r"RTPRIO|rtprio"):
            cpu.supervise_on(0, FIFO)
        assert taken == []
