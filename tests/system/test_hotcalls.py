"""The extension for hot calls changes no answer, and answers most of the calls that it is for."""

from __future__ import annotations

import pytest

from nsbuild.supervisor import hotcalls
from tests.system.capabilities import needs
from tests.system.harness import Runner
from tests.system.test_files import SCRIPTS

WITHOUT = {hotcalls.SWITCH: "0"}

SIMILAR = (
    *("write", "rename", "link", "chmod", "touch-explicit", "open-file", "truncate", "reused"),
    *("children", "find", "make", "proc", "proc-self", "stdin", "create-order", "exchange"),
    "proc-as-compilers-open",
)


@pytest.fixture(autouse=True, scope="module")
def _extension() -> None:
    needs("a C compiler and Python's headers", hotcalls.available())


@pytest.mark.parametrize("name", SIMILAR)
def test_answers_are_the_same_without_it(ns: Runner, name: str) -> None:
    cwd = ns.directory()
    script = f"mkdir x; cd x; {SCRIPTS[name]}"
    seen = ns.exec("sh", "-c", script, cwd=cwd).ok()
    again = ns.exec("sh", "-c", f"rm -r x; {script}", cwd=cwd, env=WITHOUT).ok()
    first = ns.exec("sh", "-c", f"rm -r x; {script}", cwd=cwd).ok()
    assert again == first
    assert len(seen.stdout) > 0


LOOKS = """
import os, time
for name in ("/usr/bin/env", "/nothing", "nothing", ".", "/proc/self", "/dev/null"):
    for _ in range(3):
        try:
            print(os.stat(name), os.lstat(name))
        except OSError as error:
            print(error)
os.symlink("/nowhere", "link")
link = os.path.abspath("link")
for name in ("/nothing", "/usr/bin/env/x", "/etc/passwd/", "nothing", "/nothing/", link):
    try:
        print(os.statvfs(name))
    except OSError as error:
        print(error.strerror)
print(os.stat("/proc/self/fd/1").st_mode, os.path.exists("/etc/mtab"), time.time())
for call in (lambda: os.chmod("a", 0o600), lambda: os.utime("a"), lambda: os.truncate("a", 1)):
    with open("a", "w") as file:
        file.write("a")
    before = [os.stat("a") for _ in range(3)]
    call()
    after = [os.stat("a") for _ in range(3)]
    print(before, after, time.time())
    assert before[0] == before[2] and after[0] == after[2] and before[0] != after[0]
"""


def test_what_changes_is_seen_at_once(ns: Runner) -> None:
    """A look that was answered before is not answered from memory after a change."""
    runs = [
        ns.exec("/usr/bin/python3", "-c", LOOKS, env=env).ok() for env in ({}, WITHOUT, {}, WITHOUT)
    ]
    assert runs[0] == runs[1] == runs[2] == runs[3]


def test_a_thread_that_leaves_the_root_is_not_answered_from_it(ns: Runner) -> None:
    script = (
        "import os; print(os.path.exists('/usr')); os.mkdir('d'); os.chroot('d'); "
        "print(os.path.exists('/usr'), os.path.exists('/usr'), os.listdir('/'))"
    )
    runs = [ns.exec("/usr/bin/python3", "-c", script, env=env).ok() for env in ({}, WITHOUT)]
    assert runs[0] == runs[1]
    assert runs[0].lines == ["True", "False False []"]
