"""The dynamic loader's own calls are not notified, and it makes no difference but to the time."""

from __future__ import annotations

import pytest

from tests.system.harness import Runner
from tests.system.test_hotcalls import LOOKS

LARGE_STACK = "ulimit -s 200000"
"""With it the loader lies elsewhere, and its calls are notified."""


def notified(runner: Runner, script: str, *options: str) -> list[str]:
    """The opens and the looks by descriptor that a shell script's programs have notified."""
    cwd = runner.directory()
    runner.exec("sh", "-c", script, options=[*options, "--trace=t"], cwd=cwd).ok()
    calls = [line.split()[2] for line in (cwd / "t").read_text().splitlines()]
    return [call for call in calls if call.startswith(("openat(", "newfstatat("))]


def test_what_the_loader_does_is_not_notified(root: Runner) -> None:
    assert notified(root, "exec /bin/true") == []
    assert len(notified(root, f"{LARGE_STACK}; exec /bin/true")) > 1


def test_without_sched_fifo_it_is(root: Runner, user: Runner) -> None:
    assert len(notified(root, "exec /bin/true", "--sched=other")) > 1
    assert len(notified(user, "exec /bin/true")) > 1


def test_what_programs_do_is_notified(root: Runner) -> None:
    """cat(1) opens as the loader does, and looks at what it has opened in the same way."""
    assert len(notified(root, "exec cat /etc/passwd")) > 1


@pytest.mark.parametrize("command", ["exec python3 -c '{}'", "exec perl -e 'print -M \"/etc\"'"])
def test_answers_are_the_same(root: Runner, command: str) -> None:
    script = command.format(LOOKS.replace("'", '"'))
    let_go, asked = (
        root.exec("sh", "-c", f"{before}; {script}", cwd=root.directory()).ok()
        for before in ("true", LARGE_STACK)
    )
    assert let_go == asked
    assert let_go.stdout
