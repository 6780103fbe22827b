"""Small projects of many toolchains, built twice bare and twice under nsbuild.

    python -m tests.acceptance.corpus [--write FILE] [PROJECT...]

Each is a directory below corpus/ with its sources and a build.sh that fills ./out. The head of that
script says what it needs and what makes the result differ from one bare run to the next: a project
that is equal bare could never fail here, and counts as a failure. The two bare builds lie under the
same path on the same disk, on one CPU. Those under nsbuild lie on a disk and in a tmpfs, under
different paths of the host, and the second one's caller has another environment and umask and a
busy process on each CPU beside it. SOURCE_DATE_EPOCH, which would help some tools, is unset in all
four. --write makes the page for the documentation.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from tests.acceptance.hostfs import EARLIER, LATER, Checkout, date, write_out
from tests.acceptance.packages import MEMORY, ONE_CPU, PLAIN, run
from tests.acceptance.table import BuildError, make_table
from tests.system.account import CHECKOUT
from tests.system.harness import burn_pids, load, next_second

CORPUS = Path(__file__).resolve().parent / "corpus"
CACHE = CHECKOUT / ".cache/corpus"
CHECKOUTS = (EARLIER, LATER)
SECONDS = 90
"""After which a build is killed from outside; none takes a tenth of it."""
LIMIT = ("timeout", "-s", "KILL", str(SECONDS))
# The front alone, which takes the container with it as it does when anybody else kills it.
LIMIT_INSIDE = ("timeout", "--foreground", "-s", "KILL", str(SECONDS))
# The same for all builds: what lies in the home of whoever runs this is no input, and files that a
# bare build forgets in TMPDIR go with its directory.
SCRIPT = (
    "unset SOURCE_DATE_EPOCH; export HOME=$PWD TMPDIR=$PWD/tmp; mkdir tmp out; exec sh ./build.sh"
)
ANOTHER_CALLER = {
    "TZ": "Pacific/Auckland",
    "LANG": "de_DE.UTF-8",
    "HOME": "/nonexistent",
    "USER": "somebody",
    "EDITOR": "x" * 999,
}
WITH_UMASK = ("sh", "-c", 'umask 077; exec "$@"', "sh")


class Project(NamedTuple):
    """What the head of a build.sh says.

    `varies` is what makes bare results differ. `packages` are Debian's; `commands` are those that
    come with one of that name or with another. `elsewhere` are variables of the environment of the
    second bare build, for what differs between two machines rather than two runs. `threads` marks
    programs whose threads share a clock: without SCHED_FIFO theirs need not repeat. `options` are
    those of `nsbuild exec` that it needs. `memory` marks what repeats only where no thread waits
    for a disk, so both builds lie in memory.
    """

    name: str
    varies: str
    packages: tuple[str, ...]
    commands: tuple[str, ...]
    elsewhere: tuple[str, ...]
    threads: bool
    options: tuple[str, ...]
    memory: bool


class Result(NamedTuple):
    """Names of the files in out/ that differ, and the seconds of the shorter build of each pair."""

    project: Project
    files: int
    bare: tuple[str, ...]
    inside: tuple[str, ...]
    seconds: tuple[float, float]


def described(script: Path) -> Project:
    """The project of a build.sh; it has to say what varies and which packages it needs."""
    head = dict(re.findall(r"^# ([A-Z][a-z]+): (.*)$", script.read_text(), re.MULTILINE))
    return Project(
        script.parent.name,
        head["Varies"],
        tuple(head["Packages"].split()),
        tuple(head.get("Commands", "").split()),
        tuple(head.get("Elsewhere", "").split()),
        "Threads" in head,
        tuple(head.get("Options", "").split()),
        "Memory" in head,
    )


def projects() -> list[Project]:
    return [described(script) for script in sorted(CORPUS.glob("*/build.sh"))]


def lay_out(project: Project, top: Path, how: Checkout) -> None:
    """The sources in a directory, of the times and in the order that `how` says."""
    source = CORPUS / project.name
    found = (path for path in source.rglob("*") if path.is_file())
    files = {str(path.relative_to(source)): path.read_bytes() for path in found}
    write_out(files, top, how)
    date(top, how)


def collect(top: Path) -> dict[str, str]:
    """What lies in out/: name -> SHA-256, and with it what else an archive of it would hold."""
    made = {}
    for path in sorted((top / "out").rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            content = os.readlink(path)
        elif stat.S_ISREG(mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = ""
        made[str(path.relative_to(top / "out"))] = f"{mode:o} {content}"
    if not made:
        raise BuildError(f"nothing in {top}/out")
    return made


def build_bare(project: Project, turn: int) -> tuple[dict[str, str], float]:
    """Under the same path and on one CPU each time: neither is why builds differ."""
    top = CACHE / "bare" / project.name
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    lay_out(project, top, CHECKOUTS[turn])
    elsewhere = project.elsewhere if turn == 1 else ()
    command = [*LIMIT, *ONE_CPU, "env", "-C", str(top), *elsewhere, "sh", "-c", SCRIPT]
    log = new_log(project, f"bare-{turn + 1}")
    start = time.monotonic()
    run(command, log, PLAIN)
    seconds = time.monotonic() - start
    made = collect(top)
    shutil.rmtree(top)
    return made, seconds


def build_inside(project: Project, turn: int) -> tuple[dict[str, str], float]:
    """First on the disk, then for another caller and in memory where there is a /dev/shm.

    What was made stays in .cache until the next time, for who wants to see what differs.
    """
    in_memory = turn == 1 or project.memory
    parent = MEMORY if in_memory and os.access(MEMORY, os.W_OK) else CACHE
    top = Path(tempfile.mkdtemp(prefix="nsbuild-corpus-", dir=parent))
    try:
        lay_out(project, top, CHECKOUTS[turn])
        nsbuild = [sys.executable, "-m", "nsbuild", "exec", "-v", f"{top}:/build", "-w", "/build"]
        log = new_log(project, f"nsbuild-{turn + 1}")
        trace = f"--trace={log}.trace"
        keep = [trace] if os.environ.get("NSBUILD_CORPUS_TRACE") else []
        caller = ANOTHER_CALLER if turn == 1 else {}
        wrapped = [*LIMIT_INSIDE, *(WITH_UMASK if turn == 1 else ())]
        start = time.monotonic()
        run(
            [*wrapped, *nsbuild, *project.options, *keep, "/", "sh", "-c", SCRIPT],
            log,
            dict(os.environ) | caller,
        )
        seconds = time.monotonic() - start
        made = collect(top)
        kept = CACHE / "out" / project.name / str(turn + 1)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(top / "out", kept, symlinks=True)
        return made, seconds
    finally:
        shutil.rmtree(top, ignore_errors=True)


def new_log(project: Project, what: str) -> Path:
    """A new log."""
    log = CACHE / f"{project.name}-{what}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    return log


def differing(first: dict[str, str], second: dict[str, str]) -> tuple[str, ...]:
    """The names that are not there twice with the same content."""
    names = sorted(set(first) | set(second))
    return tuple(name for name in names if first.get(name) != second.get(name))


def compare(project: Project) -> Result:
    """Build it all four times; raises BuildError.

    Two turns of one bare build and one inside, so that the clock need not be waited for twice. An
    archiver's clock may tick in steps of two seconds.
    """
    start = time.time()
    bare, bare_seconds = build_bare(project, 0)
    inside, seconds = build_inside(project, 0)
    burn_pids()
    while int(time.time()) < start + 2:
        next_second(time.time())
    bare_again, bare_seconds_again = build_bare(project, 1)
    # Without SCHED_FIFO busy processes have their share of the CPU, and then it takes minutes.
    alone = os.getuid() != 0 or "--sched=other" in project.options
    with nullcontext() if alone else load():
        inside_again, seconds_again = build_inside(project, 1)
    return Result(
        project,
        len(inside),
        differing(bare, bare_again),
        differing(inside, inside_again),
        (min(bare_seconds, bare_seconds_again), min(seconds, seconds_again)),
    )


PAGE_TOP = """# Toolchains, each built twice

Small projects whose results differ on every bare run, built twice bare and twice under nsbuild. The
bare builds lay under the same path on the same disk and ran on one CPU, so that neither path nor
schedule is why they differ. Those under nsbuild lay on a disk and in a tmpfs, under different paths
of the host that were `/build` inside; the second ran seconds later, for a caller with another
environment, umask and range of process numbers, and, under SCHED_FIFO, with a busy process on each
CPU beside it. The sources were checked out in another order and with other times for the second
build of each pair. SOURCE_DATE_EPOCH was unset in all four.

The projects lie in `tests/acceptance/corpus/`, one directory each; `build.sh` there says what it
does. Equal means: every file that it made has the same name, mode and bytes. The last column is the
time of the shorter build under nsbuild divided by that of the shorter bare one. It includes the
start of the container, which is most of it where a bare build takes a few hundredths of a second.
"Other machine" marks what differs bare between machines rather than between runs: the second bare
build had another time zone. `make corpus` repeats it all and writes this page; `make test` checks
each line of it.

Not among them, because they do not repeat or do not end:

- threads that take their work from one queue while some of them wait for a disk: "in memory" marks
  the project of which both builds lay in a tmpfs for that reason, under different paths;
- what reads a clock in milliseconds after the go tool has run on files that came from a disk: it
  may have asked for the time a few times more or less (docs/threads.md);
- gpg-agent's own choice of an S2K count: it measures for how long it hashes, and the CPU clock
  moves by a step at each reading only;
- jobs of `make -j8` that append to one file: its time moves their clocks, in the order in which
  they come to it, and that repeats only while none of them waits for a disk.

| project | what varies | files | bare | nsbuild | time |
|---|---|---|---|---|---|"""


def page(results: Sequence[Result]) -> str:
    """The table for the documentation, in Markdown."""
    lines = [PAGE_TOP]
    for result in results:
        bare, inside = result.seconds
        words = (
            result.project.name + (" (other machine)" if result.project.elsewhere else ""),
            "; ".join(
                (
                    result.project.varies,
                    *map("`{}`".format, result.project.options),
                    *["in memory"] * result.project.memory,
                )
            ),
            str(result.files),
            "differs" if result.bare else "EQUAL",
            "DIFFERS" if result.inside else "equal",
            f"{inside / bare:.1f} ({inside:.1f} s)",
        )
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines) + "\n"


def show(result: Result) -> None:
    """A line, and the names of what should be equal and is not."""
    bare, inside = result.seconds
    words = (
        "differs" if result.bare else "EQUAL",
        "DIFFERS" if result.inside else "equal",
        f"{bare:5.1f} s {inside:5.1f} s",
    )
    print(f"{result.project.name:24} bare {words[0]:8} nsbuild {words[1]:8} {words[2]}")
    for name in result.inside:
        print(f"    {name}")
    sys.stdout.flush()


def main() -> int:
    """Build what is asked for and print it; the exit status says whether all is as it should be."""
    title = "corpus", (__doc__ or "").partition("\n")[0]
    return make_table(
        *(title, projects(), compare, show, page),
        lambda result: bool(result.bare) and not result.inside,
    )


if __name__ == "__main__":
    sys.exit(main())
