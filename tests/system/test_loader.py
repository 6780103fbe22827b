"""The dynamic loader's own calls are not notified, and it makes no difference but to the time."""

from __future__ import annotations

import pytest

from tests.system.harness import Runner
from tests.system.test_hotcalls import LOOKS

LARGE_STACK = "ulimit -s 200000"
"""With it the loader lies elsewhere, and its calls are notified."""


def notified(runner: Runner, script: str) -> list[str]:
    """The opens and the looks by descriptor that a shell script's programs have notified."""
    cwd = runner.directory()
    runner.exec("sh", "-c", script, options=["--trace=t"], cwd=cwd).ok()
    calls = [line.split()[2] for line in (cwd / "t").read_text().splitlines()]
    return [call for call in calls if call.startswith(("openat(", "newfstatat("))]


def test_what_the_loader_does_is_not_notified(ns: Runner) -> None:
    assert notified(ns, "exec /bin/true") == []
    assert len(notified(ns, f"{LARGE_STACK}; exec /bin/true")) > 1


def test_what_programs_do_is_notified(ns: Runner) -> None:
    """cat(1) opens as the loader does, and looks at what it has opened in the same way."""
    assert len(notified(ns, "exec cat /etc/passwd")) > 1


@pytest.mark.parametrize("command", ["exec python3 -c '{}'", "exec perl -e 'print -M \"/etc\"'"])
def test_answers_are_the_same(ns: Runner, command: str) -> None:
    script = command.format(LOOKS.replace("'", '"'))
    let_go, asked = (
        ns.exec("sh", "-c", f"{before}; {script}", cwd=ns.directory()).ok()
        for before in ("true", LARGE_STACK)
    )
    assert let_go == asked
    assert let_go.stdout
