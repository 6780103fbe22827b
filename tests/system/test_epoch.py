"""nsbuild epoch, and the hint that a failed command gets whose clock was too early for it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.system.capabilities import needs_tools
from tests.system.harness import EPOCH, TIMEOUT, Outcome, Runner

DATE = 1_784_000_000
"""2026-07-14T03:33:20Z, later than the default epoch and earlier than today."""


def epoch(ns: Runner, *arguments: str) -> Outcome:
    return ns.outside(ns.command("epoch", *arguments))


def as_account(ns: Runner, script: str, *arguments: str) -> None:
    command = [*ns.account.prefix, "sh", "-ec", script, "sh", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT, env=ns.environment())


REPOSITORY = """
top=$1 date=$2 home=$1/home
mkdir -p "$top/repo/dists/x/main/binary-amd64" "$top/lists/partial" "$top/keys"
mkdir -p "$top/archives/partial"
mkdir -m 700 "$home"
cd "$top"
gpg="gpg -q --homedir $home --batch --passphrase= --pinentry-mode=loopback"
$gpg --faked-system-time=$date! --quick-gen-key nobody ed25519 sign never
cd repo/dists/x
: >main/binary-amd64/Packages
{
    echo "Suite: x"
    echo "Codename: x"
    echo "Architectures: amd64"
    echo "Components: main"
    echo "Date: $(LC_ALL=C date -u -d @$date '+%a, %d %b %Y %T UTC')"
    echo "SHA256:"
    echo " $(sha256sum <main/binary-amd64/Packages | cut -d' ' -f1) 0 main/binary-amd64/Packages"
} >Release
$gpg --faked-system-time=$((date + 1))! --clearsign -o InRelease Release
$gpg --export >"$top/keys/test.gpg"
gpgconf --homedir "$home" --kill all
rm -f "$home"/S.*
echo "deb [signed-by=$top/keys/test.gpg] copy:$top/repo x main" >"$top/sources.list"
: >"$top/status"
"""

APT = """
apt-get -o Dir::State::lists=$1/apt/lists -o Dir::State::status=$1/status -o Dir::Cache=$1 \
    -o Dir::Etc::sourcelist=$1/sources.list -o Dir::Etc::sourceparts=/dev/null \
    -o APT::Sandbox::User=root -o Acquire::Check-Date=true update 2>&1
""".strip()


@pytest.fixture
def repository(ns: Runner) -> Path:
    """A signed repository of apt's whose Release file and key are of DATE."""
    needs_tools("gpg", "apt-get")
    top = ns.directory("r")
    as_account(ns, REPOSITORY, str(top), str(DATE))
    (top / "apt").mkdir()
    (top / "lists").rename(top / "apt/lists")
    as_account_owned = [*ns.account.prefix, "test", "-w", str(top / "apt/lists")]
    assert subprocess.run(as_account_owned, check=False).returncode == 0
    return top


def run(ns: Runner, top: Path, script: str, when: int | None = None) -> Outcome:
    options = [] if when is None else [f"--epoch={when}"]
    return ns.exec("sh", "-c", script, "sh", str(top), options=options, cwd=top)


def test_apt_with_an_early_clock(ns: Runner, repository: Path) -> None:
    seen = run(ns, repository, APT)
    assert seen.code == 100
    assert "is not valid yet" in seen.text
    assert "the clock ended at 2015-12-22T15:2" in seen.complaint
    assert f"_InRelease of 2026-07-14T03:33:20Z: if that was refused, use --epoch={DATE}" in (
        seen.complaint
    )


def test_apt_with_the_clock_that_the_hint_names(ns: Runner, repository: Path) -> None:
    seen = run(ns, repository, APT, DATE)
    assert seen.code == 0, seen
    assert seen.stderr == b""


def test_apt_that_fails_for_another_reason(ns: Runner, repository: Path) -> None:
    (repository / "repo/dists/x/InRelease").write_text("spoilt")
    (repository / "repo/dists/x/Release").unlink()
    seen = run(ns, repository, APT, int(time.time()))
    assert seen.code == 100
    assert seen.stderr == b""


VERIFY = "gpg --homedir $1/home --verify $1/repo/dists/x/InRelease 2>&1"
NEW_HOME = """
mkdir -m 700 n
gpg --homedir $1/n --import $1/keys/test.gpg 2>&1
gpg --homedir $1/n --verify $1/repo/dists/x/InRelease 2>&1
"""


def test_gpg_with_an_early_clock(ns: Runner, repository: Path) -> None:
    seen = run(ns, repository, VERIFY)
    assert seen.code == 2
    assert "in the future" in seen.text
    assert f"before the key {repository}/home/pubring.kbx of 2026-07-14" in seen.complaint
    assert f"use --epoch={DATE} or later" in seen.complaint
    assert run(ns, repository, VERIFY, DATE).ok().text.count("Good signature") == 1


def test_gpg_that_imports_nothing(ns: Runner, repository: Path) -> None:
    seen = run(ns, repository, NEW_HOME)
    assert seen.code == 2
    assert "in the future" in seen.text
    assert f"gpg has no key in {repository}/n" in seen.complaint
    assert "use a later --epoch" in seen.complaint


def test_no_hint_where_nothing_asked(ns: Runner, repository: Path) -> None:
    """A command that fails, in a root full of things that are later than its clock."""
    assert run(ns, repository, "echo >a; cat $1/apt/lists/* $1/home/* >/dev/null 2>&1; exit 3") == (
        *(3, b"", b""),
    )
    assert run(ns, repository, f"{APT}; {VERIFY}; exit 0").stderr == b""
    state = f"--state={ns.directory('state-')}"
    looks = "ls -lR $1 >/dev/null; exit 3"
    assert ns.exec("sh", "-c", looks, "sh", str(repository), options=[state], cwd=repository) == (
        *(3, b"", b""),
    )


def test_a_link_to_what_we_serve_does_not_hang(ns: Runner, repository: Path) -> None:
    script = "ln -s /dev/urandom $1/apt/lists/x_Release; ln -s /dev/urandom $1/home/a.gpg"
    seen = run(ns, repository, f"{script}; {VERIFY}; {APT}; exit 3")
    assert seen.code == 3
    assert "--epoch" in seen.complaint


def test_the_epoch_of_a_root(ns: Runner, repository: Path) -> None:
    root = ns.directory()
    lists, keyrings = root / "var/lib/apt/lists", root / "usr/share/keyrings"
    as_account(ns, 'mkdir -p "$@"', str(lists), str(keyrings))
    as_account(ns, 'cp "$1/keys/test.gpg" "$2"', str(repository), str(keyrings))
    assert epoch(ns, str(root)).ok().text == f"{DATE}\n"
    (lists / "r_dists_x_InRelease").write_text("Date: Tue, 14 Jul 2026 03:33:21 UTC\n")
    assert epoch(ns, str(root)).ok().text == f"{DATE + 1}\n"
    seen = epoch(ns, "--verbose", str(root))
    assert (seen.code, seen.text) == (0, f"{DATE + 1}\n")
    assert seen.stderr.decode().splitlines() == [
        f"nsbuild: {DATE + 1} (2026-07-14T03:33:21Z): Release file, "
        "var/lib/apt/lists/r_dists_x_InRelease",
        f"nsbuild: {DATE} (2026-07-14T03:33:20Z): key, usr/share/keyrings/test.gpg",
    ]


def test_the_epoch_of_the_machine_is_one_for_it(root: Runner) -> None:
    needs_tools("dpkg")
    seen = int(epoch(root, "/").ok().text)
    assert EPOCH < seen < time.time()
    assert root.exec("date", "+%s", options=[f"--epoch={seen}"]).ok().text == f"{seen}\n"


def test_a_root_without_any_date(ns: Runner) -> None:
    seen = epoch(ns, str(ns.directory()))
    assert (seen.code, seen.stdout) == (125, b"")
    assert "has a date" in seen.complaint


@pytest.mark.parametrize(
    ("target", "says"),
    [("/no/such/root", "No such file or directory"), ("/etc/passwd", "Not a directory")],
)
def test_a_root_that_is_none(ns: Runner, target: str, says: str) -> None:
    seen = epoch(ns, target)
    assert (seen.code, seen.stdout) == (125, b"")
    assert f"cannot look into {target}: {says}" in seen.complaint


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("--what", "/")])
def test_wrong_arguments(ns: Runner, arguments: tuple[str, ...]) -> None:
    seen = epoch(ns, *arguments)
    assert seen.code == 125
    assert "nsbuild epoch --help" in seen.complaint


def test_what_may_not_be_read_is_said(user: Runner) -> None:
    root = user.directory()
    keyrings = root / "usr/share/keyrings"
    as_account(user, 'mkdir -p "$1"; touch "$1/a.gpg"; chmod 0 "$1/a.gpg"', str(keyrings))
    (root / "etc/apt").mkdir(parents=True)
    release = root / "var/lib/apt/lists/x_Release"
    release.parent.mkdir(parents=True)
    release.write_text("Date: Tue, 14 Jul 2026 03:33:20 UTC\n")
    seen = epoch(user, str(root))
    assert (seen.code, seen.text) == (0, f"{DATE}\n")
    assert "may not read usr/share/keyrings/a.gpg" in seen.complaint
