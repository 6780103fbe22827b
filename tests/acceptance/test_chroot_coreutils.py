"""What coreutils checks of its own chroot, asked of nsbuild's: exact codes, and credentials.

First coreutils' own scripts, out of its source package and as they are; then the same in other
words, which say what is wrong, and with an account that has groups beside its own.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import account
from tests.system.capabilities import needs
from tests.system.chroots import Seen, ours, run
from tests.system.harness import PATH, Runner

CACHE = account.CHECKOUT / ".cache" / "coreutils"
FETCH = account.CHECKOUT / "tests" / "acceptance" / "fetch-source.sh"
WRAPPER = """\
#!/bin/sh
PYTHONPATH='{checkout}' exec '{python}' -m nsbuild chroot "$@"
"""


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """Coreutils' source tree, with nsbuild's chroot for its own, where everybody may look."""
    needs("root", os.getuid() == 0)
    needs("the program dpkg-source", shutil.which("dpkg-source"))
    subprocess.run([str(FETCH), str(CACHE), "coreutils"], check=True, stdout=subprocess.DEVNULL)
    (package,) = CACHE.glob("coreutils_*.dsc")
    with tempfile.TemporaryDirectory(prefix="nsbuild-coreutils-", dir="/var/tmp") as top:
        Path(top).chmod(0o755)
        tree = Path(top, "source")
        unpack = ["dpkg-source", "--no-check", "--extract", str(package), str(tree)]
        subprocess.run(unpack, check=True, stdout=subprocess.DEVNULL)
        wrapper = tree / "src" / "chroot"
        wrapper.write_text(WRAPPER.format(checkout=account.CHECKOUT, python=sys.executable))
        wrapper.chmod(0o755)
        (tree / "config.h").write_text("#define HAVE_SETGROUPS 1\n")
        yield tree


@pytest.mark.parametrize("name", ["chroot-fail", "chroot-credentials"])
def test_coreutils_own_scripts(source: Path, name: str) -> None:
    (script,) = source.glob(f"tests/*/{name}.sh")
    rm = subprocess.run(["rm", "--version"], check=True, capture_output=True, text=True).stdout
    told = {
        "srcdir": ".",
        "CONFIG_HEADER": str(source / "config.h"),
        "built_programs": "chroot pwd",
        "PACKAGE_VERSION": rm.splitlines()[0].split()[-1],
        "PATH": PATH,
        "LC_ALL": "C",
    }
    # Root's own groups, without which the second fails with the real chroot as well.
    command = ["setpriv", "--groups=0", "sh", "-c", 'exec 9>&2; exec sh -x "$0"']
    done = subprocess.run(
        [*command, str(script.relative_to(source))],
        cwd=source,
        env=told,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    # 77 would be that it was skipped.
    assert done.returncode == 0, done.stderr.decode()[-3000:]


def test_codes_of_failures(ns: Runner) -> None:
    """None of these gets as far as a command, so they are the same for an ordinary user."""

    def code(*arguments: str) -> int:
        return ns.outside(ns.command("chroot", *arguments)).code

    assert code() == 125
    assert code("---", "/", "true") == 125
    assert code("/", "true") == (0 if ns.is_root else 125)
    refused = ns.outside(ns.command("chroot", "--skip-chdir", ".", "env", "pwd"))
    assert refused.code == 125
    assert refused.stdout == b""
    assert refused.stderr == (
        b"chroot: option --skip-chdir only permitted if NEWROOT is old '/'\n"
        b"Try 'chroot --help' for more information.\n"
    )


def test_an_ordinary_user_may_not(user: Runner) -> None:
    seen = user.outside(user.command("chroot", "/etc", "true"))
    assert seen.code == 125
    assert (
        seen.stderr == b"chroot: cannot change root directory to '/etc': Operation not permitted\n"
    )


def test_codes_of_commands(root: Runner) -> None:
    assert run(ours("/", "sh", "-c", "exit 2")).code == 2
    assert run(ours("/", ".")).code == 126
    assert run(ours("/", "no_such")).code == 127


def test_the_working_directory(root: Runner, tmp_path: Path) -> None:
    (tmp_path / "isroot").symlink_to("/")
    for path in ("/", "/.", "/../", "isroot"):
        assert run(ours(path, "env", "pwd"), cwd=tmp_path).stdout == b"/\n"
        kept = run(ours("--skip-chdir", path, "env", "pwd"), cwd=tmp_path)
        assert kept.stdout == os.fsencode(tmp_path) + b"\n"


class Member:
    """An account with its ids, and what `id` says in a chroot to / with some options."""

    def __init__(self, name: str) -> None:
        entry = pwd.getpwnam(name)
        self.name, self.uid, self.gid = name, entry.pw_uid, entry.pw_gid
        self.group = grp.getgrgid(entry.pw_gid).gr_name
        self.groups = sorted(os.getgrouplist(name, entry.pw_gid))

    def ids(self, option: str, *options: str) -> list[int]:
        seen = run(["setpriv", "--groups=0,5", *ours(*options, "/", "id", option)])
        assert seen.code == 0, seen
        return sorted(map(int, seen.stdout.split()))


@pytest.fixture(scope="module")
def member() -> Member:
    needs("root", os.getuid() == 0)
    return Member(account.ordinary().name)


def test_root_stays_root(member: Member) -> None:
    assert member.ids("-u") == [0]
    assert member.ids("-G") == [0, 5]
    assert run(ours("/", "id", "-un")).stdout == b"root\n"


def test_a_user_with_all_its_groups(member: Member) -> None:
    for spec in (member.name, f"{member.name}:", str(member.uid), f"{member.uid}:"):
        assert member.ids("-G", f"--userspec={spec}") == member.groups
        assert member.ids("-u", f"--userspec={spec}") == [member.uid]


def test_a_user_with_other_groups(member: Member) -> None:
    both = f"--userspec={member.name}:{member.group}"
    assert member.ids("-G", both, f"--groups={member.group}") == [member.gid]
    assert member.ids("-G", f"--userspec={member.name}", "--groups=") == [member.gid]
    plus = f"--userspec=+{member.uid}:+{member.gid}"
    assert member.ids("-G", plus, "--groups=") == [member.gid]


def test_a_group_alone_keeps_the_others(member: Member) -> None:
    assert member.ids("-G", f"--userspec=:{member.group}") == sorted([0, 5, member.gid])
    assert member.ids("-u", f"--userspec=:{member.group}") == [0]


def test_numbers_that_nobody_has(member: Member) -> None:
    assert member.ids("-G", "--userspec=1234:+5678", "--groups= +8765,4321") == [4321, 5678, 8765]
    assert member.ids("-G", "--userspec=1234:+5678", "--groups=,8765,,4321,") == [4321, 5678, 8765]
    assert member.ids("-G", "--userspec=+12342:+5678") == [5678]
    assert run(ours("--userspec=+12342", "/", "true")).code == 125


def test_the_last_list_of_groups_holds(member: Member) -> None:
    assert member.ids("-G", "--groups=invalid ignored", "--groups=") == [0]


@pytest.mark.parametrize("groups", [" ", ",", "0trail"])
def test_no_list_of_groups(root: Runner, groups: str) -> None:
    seen: Seen = run(ours(f"--groups={groups}", "/", "id", "-G"))
    assert seen.code == 125
    assert seen.stdout == b""
