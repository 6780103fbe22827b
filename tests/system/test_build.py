"""nsbuild build: the same Containerfile and files give the same image, for root and for a user.

The images are built from nothing but busybox, so no registry is needed. What is in an image is read
back from the layers of the store, and by running commands in later steps.
"""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nsbuild.images.store import Store
from tests.system.capabilities import needs
from tests.system.harness import Outcome, Runner, burn_pids, load, next_second
from tests.system.registry import registry

BUSYBOX = "/bin/busybox"
BASE = """\
FROM scratch AS base
COPY busybox /usr/bin/busybox
RUN ["/usr/bin/busybox", "--install", "-s", "/usr/bin"]
RUN ["/usr/bin/busybox", "ln", "-s", "usr/bin", "/bin"]
ENV PATH=/bin
COPY etc /etc
"""

VARYING = (
    BASE
    + """\
RUN date +%s.%N > /when; head -c 16 /dev/urandom > /random; echo $$ > /pid; uname -a > /machine
WORKDIR /src
COPY . .
RUN tar c . | gzip > /archive.gz && ls -laiR --full-time /etc /src /usr > /listing; touch sub/new
FROM base
ARG FLAVOUR=plain
LABEL flavour=$FLAVOUR
COPY --from=0 /src /out
COPY --from=0 /archive.gz /listing /when /random /pid /machine /data/
CMD ["date"]
"""
)


def need_busybox() -> None:
    static = os.path.exists(BUSYBOX) and b"dynamic" not in subprocess.run(
        ["readelf", "-d", BUSYBOX], capture_output=True, check=False
    ).stdout.lower().replace(b"there is no dynamic section", b"")
    needs("a static busybox", static)


class Builds:
    """A context, a store, and `nsbuild build` on them, as one account."""

    def __init__(self, ns: Runner, store: Path) -> None:
        self.ns = ns
        self.context = ns.directory("context-")
        self.store = store
        shutil.copy(BUSYBOX, self.context / "busybox")
        self.write("etc/passwd", "root:x:0:0::/:/bin/sh\nme:x:7:8::/home:/bin/sh\n")
        self.write("etc/group", "root:x:0:\nus:x:9:\n")

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def build(
        self, text: str, *options: str, context: Path | None = None, store: Path | None = None
    ) -> Outcome:
        given = [] if self.ns.is_root else ["--sched=other"]
        command = self.ns.command(
            "build", *given, "-f", "-", *options, str(context or self.context)
        )
        environment = {"NSBUILD_STORE": str(store or self.store)}
        return self.ns.outside(command, text.encode(), environment)

    def id(self, text: str, *options: str, **where: Path) -> str:
        outcome = self.build(text, "-q", *options, **where)
        assert outcome.code == 0, outcome
        return outcome.lines[-1]

    def config(self, identity: str) -> dict[str, Any]:
        image = Readable(str(self.store)).image(identity)
        return {**image.config["config"], "created": image.config["created"]}

    def members(self, identity: str) -> dict[str, tarfile.TarInfo]:
        """What the image's layers have, the topmost of each name."""
        store = Readable(str(self.store))
        found: dict[str, tarfile.TarInfo] = {}
        for layer in store.image(identity).layers:
            with tarfile.open(store.blob(layer.digest)) as archive:
                found.update((one.name.removeprefix("./"), one) for one in archive)
        return found


class Readable(Store):
    """A store that belongs to another user, whom root may look in on."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.place.exists = lambda: True  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def store(ns: Runner) -> Path:
    """The account's store; BASE is made once, and then comes from the cache."""
    need_busybox()
    return ns.directory("store-")


@pytest.fixture
def builds(ns: Runner, store: Path) -> Iterator[Builds]:
    there = Builds(ns, store)
    yield there
    left = os.listdir(there.store / "tmp") if (there.store / "tmp").exists() else []
    assert left == []


def fill(builds: Builds) -> None:
    builds.write("a.c", "int main;")
    builds.write("sub/run.sh", "#!/bin/sh\n", 0o755)
    (builds.context / "sub/link").symlink_to("run.sh")
    builds.write("sub/empty", "")


EXPECTED: dict[str, str] = {}
"""The id that the first account has got for VARYING."""


def test_the_same_image_elsewhere_later_and_for_anybody(builds: Builds) -> None:
    fill(builds)
    began = time.time()
    first = builds.id(VARYING, "--no-cache")
    # The same files in another checkout: other times, another umask, made in another order.
    other = builds.ns.directory("other-")
    for path in sorted(builds.context.rglob("*"), reverse=True):
        copy = other / path.relative_to(builds.context)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(os.readlink(path))
        elif path.is_file():
            shutil.copyfile(path, copy)
            copy.chmod(path.stat().st_mode | 0o020)
        else:
            copy.mkdir(exist_ok=True)
            copy.chmod(0o775)
    next_second(began)
    burn_pids()
    with load():
        second = builds.id(VARYING, context=other, store=builds.ns.directory("store-"))
    assert first == second
    assert EXPECTED.setdefault("varying", first) == first, "root and user differ"
    assert builds.id(VARYING, "--seed=1", "--no-cache") != first


def test_the_commands_of_that_differ_bare(ns: Runner) -> None:
    script = "date +%s.%N; head -c 16 /dev/urandom | od -x; echo $$"
    assert ns.bare("sh", "-c", script) != ns.bare("sh", "-c", script)


def test_nothing_is_younger_than_a_later_step(builds: Builds) -> None:
    text = (
        BASE
        + "RUN date; date > /early\nCOPY etc/group /copied\nRUN touch /late\n"
        + "RUN test ! /copied -ot /early && test /late -nt /early && date > /now\n"
        + "RUN find / -xdev -type f -newer /now\n"
    )
    lines = builds.build(text, "--no-cache").ok().lines
    start = next(at for at, line in enumerate(lines) if line.endswith(" -newer /now"))
    assert lines[start + 1].startswith("--> ")


def test_steps_that_were_done_are_not_done_again(builds: Builds) -> None:
    fill(builds)
    builds.store = builds.ns.directory("store-")
    text = BASE + "COPY a.c /a.c\nRUN date\nCOPY sub /sub\n"
    first = builds.build(text).ok().lines
    assert not any("cache" in line for line in first)
    again = builds.build(text).ok().lines
    assert sum(line.startswith("--> Using cache") for line in again) == 7
    assert again[-1] == first[-1]
    os.utime(builds.context / "a.c", (1, 1))
    assert builds.id(text) == first[-1]
    builds.write("sub/run.sh", "#!/bin/false\n", 0o755)
    changed = builds.build(text).ok().lines
    assert sum(line.startswith("--> Using cache") for line in changed) == 6
    assert changed[-1] != first[-1]
    assert builds.id(text, "--no-cache") == changed[-1]
    assert builds.id(text, "--epoch=2020-01-01") != changed[-1]


def test_what_the_config_says(builds: Builds) -> None:
    text = (
        BASE + 'CMD ["old"]\nFROM base\nENV A=1 B="x y"\nARG V\nARG W=$A$V\nLABEL a.b=$W c="$B"\n'
        "USER me\nWORKDIR /w\nWORKDIR deep\nEXPOSE 80 53/udp\nVOLUME /v /w2\nSTOPSIGNAL SIGINT\n"
        'SHELL ["/bin/sh", "-ec"]\nENTRYPOINT ["date"]\nMAINTAINER somebody\n'
    )
    config = builds.config(builds.id(text, "--build-arg=V=7", "--label=d=e", "-t", "x:1"))
    assert config == {
        "Env": ["PATH=/bin", "A=1", "B=x y"],
        "Labels": {"a.b": "17", "c": "x y", "d": "e", "org.nsbuild.epoch": "1450798245"},
        "User": "me",
        "WorkingDir": "/w/deep",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Volumes": {"/v": {}, "/w2": {}},
        "StopSignal": "SIGINT",
        "Entrypoint": ["date"],
        "created": "2015-12-22T15:30:45Z",
    }


def test_a_command_survives_a_later_entrypoint_only_if_it_is_newer(builds: Builds) -> None:
    base = BASE + 'CMD ["old"]\n'
    kept = builds.config(builds.id(base + 'FROM base\nCMD x $Y\nENTRYPOINT ["e"]\n'))
    assert (kept["Cmd"], kept["Entrypoint"]) == (["/bin/sh", "-c", "x $Y"], ["e"])
    inherited = builds.config(builds.id(base + "FROM base\nENV A=1\n"))
    assert inherited["Cmd"] == ["old"]


def test_what_copies_become(builds: Builds) -> None:
    fill(builds)
    builds.write("b.c", "b")
    text = BASE + (
        "RUN mkdir /d && ln -s /etc /link && ln -s nowhere /dangling && echo old > /old\n"
        "COPY a.c /file\nCOPY a.c /d\nCOPY a.c /new/\nCOPY *.c /many\nCOPY sub /dir\n"
        "COPY --chown=me:us --chmod=0600 a.c /owned\nCOPY --chown=3 a.c /third\n"
        "COPY a.c /dangling\nCOPY b.c /bin/\nCOPY b.c /link/b\nCOPY sub/run.sh b.c /old2/\n"
        'WORKDIR /w\nCOPY ["a.c", "rel ative"]\nCOPY a.c ./\nCOPY a.c .\n'
    )
    found = builds.members(builds.id(text))
    modes = {name: oct(one.mode) for name, one in found.items()}
    assert found["file"].size == len("int main;")
    for name in ("d/a.c", "new/a.c", "many/a.c", "many/b.c", "w/rel ative", "w/a.c", "etc/b"):
        assert found[name].isfile(), name
    assert found["usr/bin/b.c"].isfile()
    assert found["dir/link"].linkname == "run.sh"
    assert (modes["dir/run.sh"], modes["dir/empty"]) == ("0o755", "0o644")
    assert (found["owned"].uid, found["owned"].gid, modes["owned"]) == (7, 9, "0o600")
    assert (found["third"].uid, found["third"].gid) == (3, 0)
    assert found["dangling"].isfile()
    assert "nowhere" not in found
    assert {one.mtime for name, one in found.items() if name.endswith(".c")} == {1450798248}


def test_from_an_archive_and_another_stage(builds: Builds) -> None:
    builds.write("in/one", "1")
    builds.write("in/two", "2", 0o600)
    archive = builds.context / "in.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", builds.context, "in"], check=True)
    text = (
        BASE + "ADD in.tar.gz /unpacked\nADD in/one /plain\n"
        "FROM scratch\nCOPY --from=base /unpacked/ /u\nCOPY --from=base /unpacked/in/t* /t/\n"
    )
    found = builds.members(builds.id(text))
    assert sorted(set(found) - {"."}) == ["t", "t/two", "u", "u/in", "u/in/one", "u/in/two"]
    assert oct(found["u/in/two"].mode) == "0o600"


def test_what_is_ignored_is_not_there(builds: Builds) -> None:
    fill(builds)
    builds.write(".containerignore", "**/*.c\nsub\n!sub/run.sh\n")
    found = builds.members(builds.id(BASE + "COPY . /all\n"))
    assert {"all/sub/run.sh", "all/busybox"} <= set(found)
    assert not {"all/a.c", "all/sub/empty"} & set(found)


def test_only_stages_that_are_needed_are_built(builds: Builds) -> None:
    text = BASE + "FROM base AS broken\nRUN false\nFROM base AS good\nRUN true\n"
    assert builds.build(text).code == 0
    assert builds.build(text, "--target=broken").code == 1
    assert builds.id(text, "--target=base") == builds.id(BASE)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("RUN exit 7", 7, 'building at STEP "RUN exit 7": while running runtime: exit status 7'),
        ("COPY nothing /", 125, "cannot copy nothing: there is no such file"),
        ("COPY --from=localhost:1/elsewhere /x /", 125, "localhost:1/elsewhere"),
        ("COPY ../../etc/shadow /", 125, "cannot copy ../../etc/shadow: there is no such file"),
        ("ADD https://example.org/x /", 125, "nothing is fetched from an address"),
        ("COPY etc/passwd /usr/bin/busybox/x", 125, "a file of that name is in the image"),
        ("COPY --chown=nobody etc /e", 125, "no user 'nobody'"),
        ("COPY --chmod=u+x etc /e", 125, "is not an octal mode"),
        ("USER nobody\nRUN true", 125, "no user 'nobody'"),
        ("EXPOSE http", 125, "'http' is not a port"),
        ("SHELL sh", 125, "JSON form"),
        ("FROM localhost:1/elsewhere", 125, "localhost:1/elsewhere"),
        ("FROM base AS base2\nRUN --network=host true", 125, "knows no flag --network"),
    ],
)
def test_what_fails_says_where(builds: Builds, text: str, code: int, message: str) -> None:
    outcome = builds.build(BASE + text + "\n")
    assert outcome.code == code
    last = outcome.stderr.decode().splitlines()[-1]
    assert last.startswith("Error: ")
    assert message in outcome.stderr.decode()


def test_a_terminal_shows_that_a_layer_is_written(builds: Builds) -> None:
    builds.write("large", "x" * 5_000_000)
    given = [] if builds.ns.is_root else ["--sched=other"]
    command = builds.ns.command("build", *given, "--no-cache", "-f", "-", str(builds.context))
    shown = ""
    leader, follower = pty.openpty()
    store = {"NSBUILD_STORE": str(builds.store), "TERM": "xterm"}
    done = subprocess.run(
        command,
        input=b"FROM scratch\nCOPY large /\n",
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**builds.ns.environment(), **store},
        timeout=120,
        check=True,
    )
    os.close(follower)
    # EIO where nothing was written, and nobody has it open any more.
    with contextlib.suppress(OSError):
        shown = os.read(leader, 1 << 16).decode()
        assert "Writing a layer" in shown
        assert shown.endswith("\x1b[2K")
    os.close(leader)
    # A user's is the machine's Python, which need not have rich.
    assert bool(shown) or not builds.ns.is_root
    assert b"Writing" not in done.stdout
    plain = builds.build("FROM scratch\nCOPY large /\n", "--no-cache").ok()
    assert plain.stdout == done.stdout


def test_the_base_is_pulled(builds: Builds, tmp_path: Path) -> None:
    needs(
        "docker-registry and skopeo",
        bool(shutil.which("docker-registry") and shutil.which("skopeo")),
    )
    with registry(tmp_path) as address:
        name = f"{address}/base:1"
        environment = {"NSBUILD_STORE": str(builds.store)}

        def nsbuild(*arguments: str) -> None:
            builds.ns.outside(builds.ns.command(*arguments), b"", environment).ok()

        made = builds.id(BASE, "-t", name)
        nsbuild("push", "-q", "--tls-verify=false", name)
        nsbuild("rmi", "-f", made)
        text = f"FROM {name}\nRUN true\n"
        never = builds.build(text, "--pull=never")
        assert (never.code, f"{name}: image not known" in never.stderr.decode()) == (125, True)
        built = builds.id(text, "--tls-verify=false")
        assert builds.id(text, "--pull=never") == built
        assert builds.id(text, "--pull", "--tls-verify=false") == built
    gone = builds.build(text, "--pull", "--tls-verify=false")
    assert gone.code == 125, "it was not asked"


def test_bad_command_lines(builds: Builds) -> None:
    assert "is not a directory" in builds.build(BASE, context=Path("/nothing")).stderr.decode()
    assert "there is no stage x" in builds.build(BASE, "--target=x").stderr.decode()
    assert (
        "build args were not consumed: X" in builds.build(BASE, "--build-arg=X=1").stderr.decode()
    )
    before = builds.build("ARG X=2\n" + BASE, "--build-arg=X=1")
    assert before.ok().stderr == b"", "an ARG before the first FROM takes it, too"
    bad = builds.build(BASE, "-t", "Upper")
    assert (bad.code, "repository name must be lowercase" in bad.stderr.decode()) == (125, True)


def test_the_id_is_written_and_a_name_given(builds: Builds) -> None:
    path = builds.ns.directory() / "id"
    builds.store = builds.ns.directory("store-")
    identity = builds.id(BASE, f"--iidfile={path}", "-t", "one", "-t", "two:x")
    assert path.read_text() == f"sha256:{identity}"
    store = Readable(str(builds.store))
    assert set(store.image("one").names) == {"localhost/one:latest", "localhost/two:x"}
    # What is left are the stage and nothing of the way to it.
    assert len(store.images()) == 1
