"""Small commands that give something else at every run, and the same here.

The list is that on which other tools were measured for this project (benchmarks/README.md).
"""

from __future__ import annotations

import pytest

from tests.system.capabilities import needs, needs_tools
from tests.system.harness import Runner

COMMANDS = {
    "date": "date",
    "date-ns": "date +%N",
    "uuidgen": "uuidgen; uuidgen -t",
    "mktemp": "mktemp -u",
    # Its names come from the clock and the address of a variable on the stack, above which lies the
    # environment with the working directory in it.
    "mktemp-file": "cd /tmp; unset PWD OLDPWD; mktemp; mktemp -d",
    "bash-random": "bash -c 'echo $RANDOM $RANDOM $SRANDOM'",
    "pid": "echo $$; sh -c 'echo $$ $PPID'",
    "python-urandom": "/usr/bin/python3 -c 'import os; print(os.urandom(16).hex())'",
    "python-random": "/usr/bin/python3 -c 'import random; print(random.random())'",
    "python-set": "/usr/bin/python3 -c 'print({str(n) for n in range(20)})'",
    "perl-hash": 'perl -e \'my %h = map { $_ => 1 } 1 .. 30; print join(" ", keys %h), "\\n"\'',
    "perl-rand": 'perl -e \'print rand(), " ", time, "\\n"\'',
    "openssl-rand": "openssl rand -hex 16",
    "openssl-key": "openssl genpkey -algorithm ed25519",
    "urandom": "od -An -N16 -tx1 /dev/urandom",
    "urandom-2M": "head -c 2097152 /dev/urandom | sha256sum",
    "uuid-file": "cat /proc/sys/kernel/random/uuid",
    "shuf": "seq 50 | shuf | tr '\\n' ' '",
    "sort-R": "seq 50 | sort -R | tr '\\n' ' '",
    "awk-srand": "awk 'BEGIN { srand(); print srand(), rand() }'",
    "ps": "sleep 0; ps -eo pid,comm",
    "uptime": "cat /proc/uptime",
    "hostname-pid": "echo $(hostname)-$$-$(date +%s%N)",
    "eight-shells": "for i in 1 2 3 4 5 6 7 8; do sh -c 'echo $$; date +%s%N' >$i & done; wait; "
    "cat 1 2 3 4 5 6 7 8",
    "make-j": "printf 'all: a b c\\na b c:\\n\\t@date +$@%%s%%N\\n' | make -s -j3 -Otarget -f - | "
    "sort",
    "compiler": "printf 'const char *built = __DATE__ __TIME__;' | gcc -S -x c -o - - | grep 20..",
    "gcc-random-seed": "printf 'namespace { int f() { return 1; } } int g() { return f(); }' | "
    "g++ -flto -ffat-lto-objects -S -x c++ -o - - | grep gnu.lto",
    "mke2fs": "truncate -s 1M image; mke2fs -q image; sha256sum image",
    "tempname": "/usr/bin/python3 -c 'import tempfile; print(tempfile.mkdtemp())'",
    "zip": "echo a >a; zip -q - a | sha256sum",
    "tar": "echo a >a; tar c a | sha256sum",
    "stat-mtime": "echo a >a; stat -c '%Y %Z %W' a; date -r a +%N",
    "inode": "echo a >a; stat -c '%i %d' a",
    "ls-time": "echo a >a; ls --full-time a",
    "gzip-name": "echo a >a; gzip -N a; sha256sum a.gz",
}

AS_USER = (
    *("date-ns", "bash-random", "pid", "python-urandom", "openssl-rand", "urandom-2M"),
    *("uuid-file", "ps", "hostname-pid", "eight-shells", "compiler", "tempname"),
    *("zip", "tar", "inode", "ls-time"),
)
"""One of each source of chance; what differs for a user is how the container is made."""

GUESTS = {
    "auxv": ("random", "auxv"),
    "raw-clock": ("clocks", "asm", "0"),
    "static-clock": ("clocks-static", "libc", "0"),
    "go-map": ("gopure",),
}


@pytest.mark.parametrize(
    ("ns", "name"),
    [*(("root", name) for name in COMMANDS), *(("user", name) for name in AS_USER)],
    indirect=["ns"],
)
def test_command(ns: Runner, name: str) -> None:
    for word in ("uuidgen", "perl", "openssl", "make", "gcc", "shuf", "mke2fs"):
        if word in COMMANDS[name]:
            needs_tools(word)
    if name == "uuidgen":
        # It leaves a file in /var/lib/libuuid on the host, which is an input from then on.
        ns.bare("uuidgen", "-t")
    ns.twice("sh", "-c", COMMANDS[name]).ok()


@pytest.mark.parametrize("name", GUESTS)
def test_guest(root: Runner, name: str) -> None:
    """Go needs SCHED_FIFO: its threads, which share one clock, read it and sleep in turns."""
    program, *arguments = GUESTS[name]
    needs(f"a compiler for the guest {program}", root.has(program))
    root.twice(root.guest(program), *arguments).ok()


@pytest.mark.parametrize("name", ["date", "bash-random", "urandom"])
def test_another_seed_and_epoch_give_something_else(ns: Runner, name: str) -> None:
    options = ["--seed=7", "--epoch=1500000000"]
    usual = ns.exec("sh", "-c", COMMANDS[name]).ok()
    other = ns.exec("sh", "-c", COMMANDS[name], options=options).ok()
    assert other != usual
