"""The machine's names are constant and can be set."""

from __future__ import annotations

import os

import pytest

from tests.system.harness import EPOCH, Runner

UNAME = {"s": "Linux", "n": "nsbuild", "r": "6.1.0-nsbuild", "m": "x86_64"}
MACHINE_ID = "6e736275696c6400000000000000ab1e"
BOOT_ID = "6e736275-696c-4400-8000-00000000b007"


@pytest.mark.parametrize("field", UNAME)
def test_uname(ns: Runner, field: str) -> None:
    assert ns.exec("uname", f"-{field}").ok().text.strip() == UNAME[field]


def test_uname_as_python_and_proc_tell_it(ns: Runner) -> None:
    names = [os.uname().nodename, os.uname().release, os.uname().version]
    script = "import os; print(*os.uname(), sep='\\n')"
    seen = ns.exec("/usr/bin/python3", "-c", script).ok().lines
    assert not set(seen) & set(names), "the host shows through"
    files = ["hostname", "osrelease", "version", "domainname", "ostype"]
    paths = [f"/proc/sys/kernel/{name}" for name in files]
    told = ns.exec("cat", *paths, "/proc/version").ok()
    assert told.lines[:2] == [seen[1], seen[2]]
    assert told.lines[2] == seen[3]
    assert os.uname().release not in told.text


def test_host_and_domain_name(ns: Runner) -> None:
    assert ns.exec("hostname").ok().text == "nsbuild\n"
    assert ns.exec("domainname").ok().text == "(none)\n"
    script = "import socket; print(socket.gethostname())"
    assert ns.exec("/usr/bin/python3", "-c", script).ok().text == "nsbuild\n"


def test_machine_and_boot_id(ns: Runner) -> None:
    seen = ns.exec("cat", "/etc/machine-id", "/proc/sys/kernel/random/boot_id").ok()
    assert seen.lines == [MACHINE_ID, BOOT_ID]


def test_all_can_be_set(ns: Runner) -> None:
    options = [
        *("--hostname", "builder", "--domainname", "example"),
        *("--uname-release", "5.10.0-build", "--machine-id", "0123456789abcdef" * 2),
    ]
    script = "hostname; domainname; uname -r; cat /etc/machine-id"
    seen = ns.exec("sh", "-c", script, options=options).ok().lines
    assert seen == ["builder", "example", "5.10.0-build", "0123456789abcdef" * 2]


def test_setting_names_inside_stays_inside(root: Runner) -> None:
    before = os.uname()
    namespace = os.readlink("/proc/self/ns/uts")
    script = f'[ "$(readlink /proc/self/ns/uts)" = "{namespace}" ] || hostname inner; hostname'
    assert root.exec("sh", "-c", script).ok().text == "inner\n"
    assert os.uname() == before


def test_ids(ns: Runner) -> None:
    """root inside, whoever it is outside."""
    assert ns.exec("id").ok().text == "uid=0(root) gid=0(root) groups=0(root)\n"


def test_su_and_setuid_programs_work(root: Runner) -> None:
    """No NO_NEW_PRIVS: su must be able to become somebody, and sudo from there somebody else.

    Not as an ordinary user on /: the host's /etc/shadow and sudoers are not readable there.
    """
    assert root.exec("su", "-s", "/bin/sh", "daemon", "-c", "id -un").ok().text == "daemon\n"
    assert root.exec("sudo", "-u", "daemon", "id", "-un").ok().text == "daemon\n"


def test_the_command_can_become_somebody_else(ns: Runner) -> None:
    """What su does once it has read the shadow file; the clock must follow the process there."""
    become = ("setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups")
    assert ns.exec(*become, "id", "-un").ok().text == "daemon\n"
    assert ns.exec(*become, "date", "+%s").ok().text == f"{EPOCH}\n"


def test_no_new_privs_is_not_set(ns: Runner) -> None:
    seen = ns.exec("grep", "NoNewPrivs", "/proc/self/status").ok().text
    assert seen.split() == ["NoNewPrivs:", "0"]


def test_files_keep_their_owners_as_root(root: Runner) -> None:
    cwd = root.directory()
    (cwd / "file").touch()
    os.chown(cwd / "file", 12345, 54321)
    script = "stat -c %u:%g file; touch mine; chown 4321:1234 mine"
    assert root.exec("sh", "-c", script, cwd=cwd).ok().text == "12345:54321\n"
    made = (cwd / "mine").stat()
    assert (made.st_uid, made.st_gid) == (4321, 1234)


def test_files_made_by_an_ordinary_user_are_its_own(user: Runner) -> None:
    cwd = user.directory()
    user.exec("touch", "mine", cwd=cwd).ok()
    assert (cwd / "mine").stat().st_uid == user.account.uid
