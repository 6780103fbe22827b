"""nsbuild chroot beside the machine's own: the same bytes, the same codes, whatever is asked.

Some two hundred command lines, made from lists, are run by both, in the same place with the same
environment. Only what must differ is kept out of them: times, process numbers, inode numbers, the
machine's name and /proc beyond what the process itself is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.system import chroots
from tests.system.capabilities import needs, needs_tools
from tests.system.chroots import REAL, Roots, Seen


class Case(NamedTuple):
    """Arguments, what stands before the program, and more; BOX and so on stand for the roots."""

    arguments: tuple[str, ...]
    before: tuple[str, ...] = ()
    stdin: bytes = b""
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"


@pytest.fixture(scope="module")
def roots() -> Iterator[Roots]:
    needs("root", os.getuid() == 0)
    needs_tools("busybox", "ldd", "setpriv")
    needs("coreutils' chroot at /usr/sbin/chroot", Path(REAL).read_bytes()[:4] == b"\x7fELF")
    with chroots.standing() as standing:
        yield standing


def sh(script: str, before: tuple[str, ...] = (), stdin: bytes = b"") -> Case:
    return Case(("BOX", "sh", "-c", script), before, stdin)


def shell_before(script: str) -> tuple[str, ...]:
    """A shell that does something and becomes the program."""
    return ("sh", "-c", f'{script}; exec "$@"', "sh")


NOT_UNDERSTOOD = [
    *([word] for word in ("--foo", "-x", "-xyz", "--skip-chdir=1", "--groups", "--userspec")),
    *([word] for word in ("--u", "--g", "--skip-chdir", "--", "--foo=bar", "-", "--=x")),
    [],
    ["--skip-chdir", "BOX", "true"],
    ["--skip", "BOX/..", "true"],
    ["--groups=1"],
    ["--groups", "1"],
    ["--userspec=0", "--nosuch", "BOX", "true"],
    ["-h"],
    ["--skip-chdi", "EMPTY"],
]

NO_ROOTS = [
    *("/no/such", "BOX/etc/passwd", "", "BOX/bin/true", "/no\nsuch", "/it's", "/a b", "TOP/loop"),
    *('/a"b', "/a'b\"c", "/tab\there", "/\u00fc", "/\u00fc's", "/back\\slash", "/$HOME's", "/#'s"),
    *("/" + "x" * 300, "/" + "y/" * 3000, "/{'}", "/a@'b", "/\x1b[1m", "/\x01'", "~'x", "#'", "{"),
]

GOOD_ROOTS = ["BOX", "BOX/", "BOX/.", "BOX/../box", "TOP/link", "box", "./box", "../top/box", "/"]

COMMANDS = [
    *("true", "false", "/bin/true", "nosuch", "/nosuch", "/bin", "/bin/locked", "locked", "", "."),
    *("script", "/bin/script", "unmarked", "/bin/unmarked", "orphan", "/bin/orphan", "nothing"),
    *("/bin/true/x", "/bin/it's", "no'such", "no\\such", "bin/true", "./bin/true", "../bin/pwd"),
    *(
        "no\nsuch",
        "no\u00fc",
        "no\u2019such",
        "n" * 300,
        "/" + "n" * 5000,
        "/etc/passwd",
        "/dev/null",
    ),
]

SCRIPTS = [
    "pwd; cd ..; pwd; cd /etc/..; pwd",
    "exit 0",
    *(f"exit {code}" for code in (1, 2, 42, 124, 125, 126, 127, 128, 129, 200, 255)),
    *(
        f"kill -{name} $$"
        for name in ("HUP", "INT", "QUIT", "TERM", "KILL", "USR1", "PIPE", "SEGV")
    ),
    "trap 'echo caught; exit 9' TERM; kill -TERM $$; sleep 1",
    "echo out; echo err >&2",
    "printf 'a\\0b\\377\\n'; cat /etc/data >&2",
    "cat",
    "wc -c",
    "cat /proc/self/fd/0",
    "cat /dev/fd/0 2>&1",
    "od -An -tx1",
    'echo "$@"',
    "id",
    "id; umask; ulimit -n; ulimit -c; ulimit -s",
    "ls /bin /etc /dev",
    "env | sort",
    'echo "$HOME $USER $SHELL"',
    "echo x > /tmp/file && cat /tmp/file && rm /tmp/file",
    "mkdir /tmp/d && chmod 700 /tmp/d && ls /tmp && rmdir /tmp/d",
    "mkdir -m 1777 /tmp/sticky; touch /home/f; ls -l /home | awk '{print $1, $3, $4}'; rm /home/f; "
    "rmdir /tmp/sticky",
    "cp /bin/busybox /tmp/b && cmp /bin/busybox /tmp/b && /tmp/b echo ran; rm /tmp/b",
    "mknod /tmp/n c 1 3 && echo hidden > /tmp/n && test -c /tmp/n && echo node; rm /tmp/n",
    "mkfifo /tmp/p; (echo through > /tmp/p &) ; cat /tmp/p; rm /tmp/p",
    "echo > /dev/full",
    "head -c 5 /dev/zero | od -An -tx1; echo x > /dev/null; head -c 9 /dev/urandom | wc -c",
    "test -c /dev/urandom && test -c /dev/random && echo both",
    "suid id -u; su local -c id",
    "su local -c 'suid id -u; echo x > /etc/new' 2>&1; ls /etc",
    "cat /nosuch; ls /nosuch; echo $?",
    "(sleep 0; echo late) & wait; echo done",
    "i=0; while [ $i -lt 50 ]; do i=$((i+1)); /bin/true; done; echo $i",
    "yes | head -1000 | md5sum",
    "test -d /proc/$$; echo $?",
    "mkdir /tmp/m && mount -t tmpfs none /tmp/m && touch /tmp/m/x && ls /tmp/m; umount /tmp/m; "
    "rmdir /tmp/m; echo $?",
    "exec 2>&1; nosuch; echo $?",
    "grep -c . /etc/passwd || wc -l < /etc/passwd",
    "sleep 0.01; echo slept",
    "cat /etc/data | tr -d '\\000-\\100' | md5sum",
    "exec 9>/dev/null; echo nine >&9; echo ok",
]

USERS = [
    *("local", "local:", "local:lgrp", ":lgrp", ":", "", "daemon", "1", "1:1", "1234", "1234:1"),
    *("+1:+1", "+1234", "0:0", "root", "nosuch", "nosuch:", "local:nosuch", ":nosuch", "local:+7"),
    *("local.lgrp", "local.nosuch", "dot.ted", "dot.ted:lgrp", "1299", "77", "77:88", "+77:+88"),
    *(" 1:1", "-1", "4294967295", "4294967294:1", "99999", "99999:5", "local:4294967295", "1:"),
]

GROUPS = [
    *("lgrp", "lgrp,extra", "1", "+1", "1,2,3", "nosuch", "1,nosuch", "nosuch,alsono", "", ","),
    *(
        ",,1,,",
        " 1",
        "-1",
        "4294967295",
        "99999999999",
        "88",
        "+88",
        "daemon,lgrp",
        "1 ,2",
        "lgrp,lgrp",
    ),
]


def _option_cases() -> Iterator[Case]:
    for words in NOT_UNDERSTOOD:
        yield Case(tuple(words))
    for path in NO_ROOTS:
        yield Case((path, "true"))
    for path in GOOD_ROOTS:
        yield Case((path, "/bin/pwd"), cwd="TOP")
    yield Case(("--", "BOX", "--", "x"))
    yield Case(("--", "BOX", "echo", "--help", "-x", "--"))
    yield Case(("--skip-chdir", "/", "/bin/pwd"), cwd="BOX")
    yield Case(("--sk", "TOP/slash", "/bin/pwd"), cwd="BOX")
    yield Case(("--u=local", "--g=extra", "BOX", "id"))
    yield Case(("--userspec", "local", "--groups", "extra", "--", "BOX", "id"))
    yield Case(("--userspec=nosuch", "--userspec=local", "BOX", "id"))


def _command_cases() -> Iterator[Case]:
    for command in COMMANDS:
        yield Case(("BOX", command, "one", "two words", ""))
    for command in ("nosuch", "no'such", "no\u00fc", "\u2019"):
        yield Case(("BOX", command), env=(("LC_ALL", "C.UTF-8"),))
    for path in ("/it's", "/\u00fc's", "/\u2019"):
        yield Case((path, "x"), env=(("LC_ALL", "C.UTF-8"),))
    for variables in ((("LC_ALL", "nosuch"),), (("LC_ALL", ""), ("LANG", "C.UTF-8"))):
        yield Case(("BOX", "nosuch"), env=variables)
    for root in ("BARE", "EMPTY", "FOREIGN", "READONLY", "LIBS"):
        if root != "LIBS":
            # An interactive bash tells the number of its process group.
            yield Case((root,))
        yield Case((root, "/bin/sh", "-c", "echo ran; echo x > /etc/new"))
    yield Case(("BARE", "/busybox", "echo", "hello"))
    yield Case(("BARE", "/tool", "ls", "/"))
    yield Case(("READONLY", "sh", "-c", "echo > /tmp/x; ls /tmp; exit 3"))
    yield Case(("LIBS", "bash", "-c", "echo $BASH_SUBSHELL; cat <(echo sub); id -u"))
    yield Case(("BOX",), stdin=b"echo inter; exit 4\n")
    yield Case(("BOX",), env=(("SHELL", "/bin/cat"),))
    yield Case(("BOX",), env=(("SHELL", "/no/shell"),))
    yield Case(("BOX",), env=(("SHELL", ""),))
    yield Case(("BOX", "env"), env=(("A", "two\nlines"), ("B", ""), ("C D", "\u00fc=\u00fc")))
    yield Case(("BOX", "sh", "-c", "true"), env=(("PATH", "/nosuch"),))
    yield Case(("BOX", "locked"), env=(("PATH", "/bin:/etc/passwd"),))
    yield Case(("BOX", "nosuch"), env=(("PATH", "/bin:/etc/passwd"),))
    yield Case(("BOX", "true"), env=(("PATH", ""),))
    yield Case(("BOX", "pwd"), env=(("PATH", ":bin"),))


def _script_cases() -> Iterator[Case]:
    for script in SCRIPTS:
        yield sh(script, stdin=b"some\ninput\0\xff\n")
    before = [
        *("umask 077", "umask 000", "ulimit -n 99", "ulimit -c 0", "ulimit -s 4096", "exec <&-"),
        *("exec >&-", "exec 2>&-", "exec <&- >&- 2>&-", "exec 3</etc/hostname 7>/dev/null"),
        *(
            "trap '' HUP",
            "trap '' INT TERM",
            "unset PATH",
            "cd /; exec </etc/passwd",
            "exec </dev/null",
        ),
    ]
    show = "umask; ulimit -n; ulimit -s; ls /proc/self/fd; "
    show += "kill -HUP $$; kill -TERM $$; echo alive; cat"
    for words in before:
        yield sh(show, before=shell_before(words))
    yield Case(("BOX", "/bin/env"), before=("env", "-u", "PATH", "A=1"))
    yield Case(("BOX", "id"), before=("setpriv", "--groups=5,1236"))
    yield Case(("BOX", "id"), before=("setpriv", "--clear-groups", "--egid=7"))
    unable = ("setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all")
    yield Case(("--userspec=1:1", "BOX", "id"), before=unable)
    yield Case(("--userspec=1:1", "--groups=", "BOX", "id"), before=unable)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for path in ("BOX", "/", "/no/such", "BOX/etc/passwd", "TOP/shut", "TOP/shut/in", "EMPTY"):
        yield Case((path, "true"), before=nobody)


def _user_cases() -> Iterator[Case]:
    for user in USERS:
        yield Case((f"--userspec={user}", "BOX", "id"))
    for group in GROUPS:
        yield Case((f"--groups={group}", "BOX", "id"))
    for user in ("local", "local:", "1234:5", "99999:5"):
        for groups in ("", "extra", "nosuch"):
            yield Case((f"--userspec={user}", f"--groups={groups}", "BOX", "id"))
    for user in ("root", "daemon", "5:5", "nosuch"):
        if user != "root":
            # Where there is no passwd, libnss-systemd knows root, and not everybody has that.
            yield Case((f"--userspec={user}", "BARE", "/busybox", "id"))
        yield Case((f"--userspec={user}", "/", "id"))
    yield Case(("--userspec=local", "BOX", "nosuch"))
    yield Case(("--userspec=local", "BOX", "sh", "-c", "echo > /etc/new"))
    yield Case(("--userspec=nosuch", "/no/such", "true"))


def _caller_cases() -> Iterator[Case]:
    """What a caller has done that an exec keeps: files open, and what is made of SIGCHLD."""
    own = "cd libs/tmp; echo hello >own"
    yield Case(("LIBS", "cat", "/tmp/own"), shell_before(f"{own}; exec >>own"), cwd="TOP")
    yield Case(("LIBS", "cat", "/tmp/own"), shell_before(f"{own}; exec <own 2>&1"), cwd="TOP")
    same = "test /tmp/own -ef /proc/self/fd/0 && echo same; test /etc/data -ef /proc/self/fd/0"
    yield Case(
        ("BOX", "sh", "-c", same), shell_before("cd box/tmp; >own; exec <own; cd /"), cwd="TOP"
    )
    opened = shell_before("exec 5<box")
    for path in ("/proc/self/fd/5", "/dev/fd/5", "/proc/self/fd/5/../box", "/proc/self/fd/6"):
        yield Case((path, "/bin/pwd"), opened, cwd="TOP")
    forks = "for n in 1 2 3; do sleep 0; /bin/true; done; (exit 4); echo $?; exit 3"
    for handled in ("SIG_BLOCK, [signal.SIGCHLD]", "SIG_BLOCK, signal.valid_signals()"):
        program = f"import os, signal, sys; signal.pthread_sigmask(signal.{handled}); "
        program += "os.execv(sys.argv[1], sys.argv[1:])"
        yield sh(forks, before=(sys.executable, "-c", program))
    program = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    program += "os.execv(sys.argv[1], sys.argv[1:])"
    for script in ("exit 3", forks):
        yield sh(script, before=(sys.executable, "-c", program))


CASES = [
    *_option_cases(),
    *_command_cases(),
    *_script_cases(),
    *_user_cases(),
    *_caller_cases(),
]


def _filled(words: tuple[str, ...], roots: Roots) -> list[str]:
    names = ("TOP", "BOX", "BARE", "LIBS", "EMPTY", "FOREIGN", "READONLY")
    filled = []
    for word in words:
        head, slash, tail = word.partition("/")
        if head in names:
            word = str(roots[names.index(head)]) + slash + tail
        filled.append(word)
    return filled


def both(case: Case, roots: Roots) -> tuple[Seen, Seen]:
    """What the machine's own chroot does and what nsbuild's."""
    arguments = _filled(case.arguments, roots)
    cwd = Path(_filled((case.cwd,), roots)[0])
    seen = []
    for command in (chroots.real(*arguments), chroots.ours(*arguments)):
        line = [*case.before, *command]
        seen.append(chroots.run(line, case.stdin, dict(case.env), cwd))
    return seen[0], seen[1]


@pytest.fixture(scope="module")
def furnished(roots: Roots) -> Roots:
    """With what some of the cases need beside the roots."""
    (roots.top / "link").symlink_to("box")
    (roots.top / "loop").symlink_to("loop")
    (roots.top / "slash").symlink_to("/")
    (roots.top / "top").symlink_to(".")
    (roots.top / "shut/in").mkdir(parents=True)
    (roots.top / "shut").chmod(0o700)
    return roots


def test_there_are_enough() -> None:
    assert len(CASES) >= 200
    assert len(set(CASES)) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[f"{number}" for number in range(len(CASES))])
def test_the_same(case: Case, furnished: Roots) -> None:
    wanted, got = both(case, furnished)
    assert got == wanted
