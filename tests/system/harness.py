"""Runs commands under nsbuild and bare, and the question all tests ask: is it the same twice?

`Runner.twice` runs a command twice under nsbuild while the world outside changes (another second of
the clock, other process numbers, another directory, a busy process on every CPU for the second
run) and wants the same output and exit code. It also runs it twice bare and wants those to differ:
a test that would pass without nsbuild says nothing.
"""

from __future__ import annotations

import difflib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.system.account import CHECKOUT, Account, interpreter

TIMEOUT = 60
"""Seconds after which a run counts as hung; far beyond what any of them takes."""
EPOCH = 1450797978
"""The default epoch, 2015-12-22T15:26:18Z, as the README gives it."""
BARE_TRIES = 8
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Outcome(NamedTuple):
    """What a run left for its caller."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def lines(self) -> list[str]:
        return self.stdout.decode().splitlines()

    @property
    def complaint(self) -> str:
        """The only line on stderr, which must be one of nsbuild's own."""
        lines = self.stderr.decode().splitlines()
        assert len(lines) == 1, f"expected one line on stderr: {self}"
        assert lines[0].startswith("nsbuild: "), f"not nsbuild's own words: {self}"
        return lines[0]

    def ok(self) -> Outcome:
        """Itself; fails unless the exit code is 0 and stderr is empty."""
        assert self.code == 0, self
        assert self.stderr == b"", self
        return self


def difference(first: Outcome, second: Outcome) -> str:
    """The first lines that two runs do not share, and their exit codes."""
    old, new = ((seen.stdout + seen.stderr).decode(errors="replace") for seen in (first, second))
    changes = difflib.unified_diff(old.split("\n"), new.split("\n"), lineterm="", n=0)
    lines = itertools.islice(changes, 2, 14)
    return "\n".join([f"exit codes {first.code} and {second.code}", *lines])


@contextmanager
def load() -> Iterator[None]:
    """A busy process on every CPU."""
    spin = "while :; do :; done"
    busy = [
        subprocess.Popen(["sh", "-c", spin], stdin=subprocess.DEVNULL)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


SHOW = "stat -c '%n %i %d %s %b %B %h %f %x|%y|%z|%w'"
"""All that stat(2) tells of files, but their owners and their device's numbers."""


def burn_pids(count: int = 50) -> None:
    """Make the kernel's next process numbers other than they would have been."""
    loop = f"i=0; while [ $i -lt {count} ]; do /bin/true; i=$((i+1)); done"
    subprocess.run(["sh", "-c", loop], check=True, timeout=TIMEOUT)


def next_second(since: float) -> None:
    """Wait until the wall clock shows another second than at `since`."""
    while int(time.time()) == int(since):
        time.sleep(0.02)


class Runner:
    """nsbuild exec, as one account.

    `stage` is a directory as `account.staging` makes it; working directories are made below it.
    """

    def __init__(self, account: Account, stage: Path) -> None:
        self.account = account
        self.stage = stage
        self.guests = stage / "guests"
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=stage))
        os.chown(self.work, account.uid, account.gid)

    @property
    def is_root(self) -> bool:
        return self.account.uid == 0

    def guest(self, name: str) -> str:
        """The path of the guest program `name`, inside and outside."""
        return str(self.guests / name)

    def has(self, name: str) -> bool:
        """Whether the guest `name` could be built here."""
        return (self.guests / name).exists()

    def directory(self, name: str = "cwd-") -> Path:
        """A fresh working directory of the account's own."""
        path = Path(tempfile.mkdtemp(prefix=name, dir=self.work))
        os.chown(path, self.account.uid, self.account.gid)
        path.chmod(0o755)
        return path

    def environment(self) -> dict[str, str]:
        """The outer environment in which nsbuild itself runs."""
        scratch = self.work / "scratch"
        if not scratch.exists():
            scratch.mkdir()
            os.chown(scratch, self.account.uid, self.account.gid)
        search = f"{self.stage}/src:{self.stage}/modules" if self.account.prefix else str(CHECKOUT)
        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": str(self.work),
            "TMPDIR": str(scratch),
            "PYTHONPATH": search,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, *arguments: str) -> list[str]:
        """The command line of nsbuild with `arguments`, run as the account."""
        python = interpreter() if self.account.prefix else sys.executable
        return [*self.account.prefix, python, "-m", "nsbuild", *arguments]

    def exec(
        self,
        *argv: str,
        options: Sequence[str] = (),
        target: str = "/",
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> Outcome:
        """`nsbuild exec [OPTIONS] TARGET ARGV...`.

        An ordinary user asks for --sched=other, because SCHED_FIFO would need an allowance and
        `auto` warns; the tests of --sched itself say otherwise. `stdin` comes in by -i.
        """
        defaults = [] if self.is_root else ["--sched=other"]
        if stdin:
            defaults.append("-i")
        command = self.command("exec", *defaults, *options, target, *argv)
        return self.outside(command, stdin, env, cwd, timeout)

    def bare(self, *argv: str, stdin: bytes = b"", timeout: float = TIMEOUT) -> Outcome:
        """ARGV without nsbuild, as the account and in a directory of its own.

        What root mounts there goes with the command: the directory is going to be removed.
        """
        apart = ["unshare", "--mount", "--"] if self.is_root else []
        command = [*apart, *self.account.prefix, *argv]
        return self.outside(command, stdin, None, None, timeout)

    def outside(
        self,
        command: Sequence[str],
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> Outcome:
        """Run `command` as it is; a run that hangs fails the test."""
        done = subprocess.run(
            list(command),
            input=stdin,
            capture_output=True,
            env=self.environment() | dict(env or {}),
            cwd=cwd or self.directory(),
            timeout=timeout,
            check=False,
        )
        code = 128 - done.returncode if done.returncode < 0 else done.returncode
        return Outcome(code, done.stdout, done.stderr)

    def twice(
        self,
        *argv: str,
        options: Sequence[str] = (),
        stdin: bytes = b"",
        differs_bare: bool = True,
        timeout: float = TIMEOUT,
    ) -> Outcome:
        """What two runs under nsbuild have in common: everything, or the test fails.

        With `differs_bare` two bare runs must differ; without, a bare run must give what nsbuild
        gave (for tables of errors, which are the same everywhere).
        """
        first = self.exec(*argv, options=options, stdin=stdin, timeout=timeout)
        plain = self.bare(*argv, stdin=stdin, timeout=timeout)
        burn_pids()
        next_second(time.time())
        with load():
            cwd = self.directory("other-directory-")
            second = self.exec(*argv, options=options, stdin=stdin, cwd=cwd, timeout=timeout)
        assert first == second, f"two runs under nsbuild differ: {difference(first, second)}"
        if differs_bare:
            assert self._differs_bare(plain, argv, stdin, timeout), f"same bare: {plain}"
        else:
            assert plain == first, "not what the kernel itself answers"
        return first

    def _differs_bare(
        self, plain: Outcome, argv: Sequence[str], stdin: bytes, timeout: float
    ) -> bool:
        """Some values come from a few bits ($RANDOM, a short hash), so one repeat is not enough."""
        for _ in range(BARE_TRIES):
            if self.bare(*argv, stdin=stdin, timeout=timeout) != plain:
                return True
            time.sleep(0.15)
        return False


def lines(runner: Runner, script: str, cwd: Path | None = None) -> list[str]:
    """What a shell script says under nsbuild, which must not fail."""
    return runner.exec("sh", "-c", script, cwd=cwd).ok().lines
