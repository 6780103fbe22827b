"""The executor for qubes-builder v2, in a stand-in for v2 (tests/system/standin)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.system.account import CHECKOUT, interpreter
from tests.system.capabilities import needs_tools
from tests.system.harness import Runner, next_second
from tests.system.leftovers import new_mark, none_marked

STANDIN = CHECKOUT / "tests/system/standin"


class Result(NamedTuple):
    """What `drive.py` says: v2's error or "", what is left in the directory, the log, the rest."""

    error: str
    left: list[str]
    log: list[str]
    rest: dict[str, Any]

    def ok(self) -> Result:
        """Itself; fails if there was an error, or if anything is left."""
        assert self.error == "", self
        assert self.left == [], self
        return self


@cache
def plugins_dir(ns: Runner) -> str:
    """What the user is told to write into builder.yml."""
    python = interpreter() if ns.account.prefix else sys.executable
    command = [*ns.account.prefix, python, "-m", "nsbuild.integrations.qubes_builder"]
    shown = ns.outside(command).ok().text
    assert shown.endswith("/plugins\n")
    return shown.strip()


class Builder:
    """v2's stand-in, run by an account in a directory of its own."""

    def __init__(self, ns: Runner) -> None:
        self.ns = ns
        self.top = ns.directory("qubes-")
        self.code = self.top / "standin"
        shutil.copytree(STANDIN, self.code, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", str(self.code)], check=True, timeout=60)
        self.python = interpreter() if ns.account.prefix else sys.executable
        self.nsbuild = [self.python, "-m", "nsbuild"]
        self.environment = ns.environment()
        self.environment["PYTHONPATH"] += f":{self.code}"
        for name in ("exec", "out"):
            self.own(self.top / name)

    def own(self, path: Path) -> Path:
        """Make a directory of the account's."""
        path.mkdir()
        os.chown(path, self.ns.account.uid, self.ns.account.gid)
        return path

    def file(self, name: str, text: str) -> Path:
        """A file of the account's, for everybody to read and run."""
        path = self.top / name
        path.write_text(text)
        path.chmod(0o755)
        os.chown(path, self.ns.account.uid, self.ns.account.gid)
        return path

    def run(
        self,
        *cmd: str,
        kind: str = "nsbuild",
        options: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        stages: Sequence[object] = (),
        **job: object,
    ) -> Result:
        """Give a job to an executor of a kind; `options` are its own, `env` is v2's environment.

        Kind `inside` is `local` with all of v2 in one container.
        """
        given = {"directory": str(self.top / "exec"), **(options or {})}
        if kind == "nsbuild":
            given.setdefault("command", self.nsbuild)
        inside = kind == "inside"
        config = {
            "plugins-dirs": [] if inside else [plugins_dir(self.ns)],
            "executor": {"type": "local" if inside else kind, "options": given},
            "stages": list(stages),
        }
        program = [self.python, str(self.code / "drive.py")]
        if inside:
            # Bytecode that the first run left would be an input of the second.
            variables = [f"--env=PYTHONPATH={self.code}", "--env=PYTHONDONTWRITEBYTECODE=1"]
            program = [*self.nsbuild, "exec", "-i", *variables, "/", interpreter(), program[1]]
        done = subprocess.run(
            [*self.ns.account.prefix, *program],
            input=json.dumps({"config": config, "cmd": cmd, **job}).encode(),
            stdout=subprocess.PIPE,
            env=self.environment | dict(env or {}),
            cwd=self.top,
            timeout=300,
            check=True,
        )
        said = json.loads(done.stdout)
        return Result(said.pop("error"), said.pop("left"), said.pop("log"), said)

    def out(self, name: str) -> str:
        """What was copied out under a name."""
        return (self.top / "out" / name).read_text()

    def to_out(self, *names: str) -> list[list[str]]:
        """For `copy_out`: files of the builder directory."""
        return [[f"@BUILDER_DIR@/{name}", str(self.top / "out")] for name in names]


@pytest.fixture
def v2(ns: Runner) -> Builder:
    """A builder for each test."""
    return Builder(ns)


# The way of a job


def test_files_go_in_and_come_out(v2: Builder) -> None:
    file = v2.file("hello", "hello @BUILDER_DIR@\n")
    tree = v2.own(v2.top / "tree")
    (tree / "link").symlink_to("/nowhere")
    result = v2.run(
        "cat @BUILDER_DIR@/in/hello >@BUILDER_DIR@/said",
        "cp -a @BUILD_DIR@/tree @BUILDER_DIR@/copy",
        "pwd >>@BUILDER_DIR@/said",
        "id -u >>@BUILDER_DIR@/said",
        copy_in=[[str(file), "@BUILDER_DIR@/in"], [str(tree), "@BUILD_DIR@"]],
        copy_out=v2.to_out("said", "copy"),
        files=["@BUILDER_DIR@/in/hello"],
        who=True,
    ).ok()
    assert v2.out("said") == "hello /builder\n/builder\n0\n"
    assert os.readlink(v2.top / "out/copy/link") == "/nowhere"
    assert file.read_text() == "hello @BUILDER_DIR@\n"
    assert result.rest["local"], "v2 asks for a LocalExecutor in places"
    assert result.rest["who"] == ["root", "root"]


def test_the_environment_is_what_the_plugin_asks_for(v2: Builder) -> None:
    """The caller's is no input; the source's date is left to the tools, as v2's others do."""
    asked = {"ANSWER": "forty two\nand more", "EMPTY": ""}
    v2.run(
        'printf "%s|" "$ANSWER" "${EMPTY-unset}" "${OTHER-unset}" "$HOME" >@BUILDER_DIR@/said',
        'printf "%s" "${SOURCE_DATE_EPOCH-unset}" >>@BUILDER_DIR@/said',
        environment=asked,
        env={"OTHER": "no"},
        copy_out=v2.to_out("said"),
    ).ok()
    assert v2.out("said") == "forty two\nand more||unset|/root|unset"
    v2.run(
        'printf "%s" "$SOURCE_DATE_EPOCH" >@BUILDER_DIR@/said',
        environment={"SOURCE_DATE_EPOCH": "77"},
        copy_out=v2.to_out("said"),
    ).ok()
    assert v2.out("said") == "77"


def test_output_is_logged_by_line(v2: Builder) -> None:
    result = v2.run("echo one", "echo two >&2").ok()
    assert {"one", "two"} <= set(result.log)


def test_nothing_is_left(v2: Builder) -> None:
    mark = new_mark()
    hidden = (
        "mkdir -p @BUILDER_DIR@/a/b && chown -R 7:7 @BUILDER_DIR@/a && chmod 700 @BUILDER_DIR@/a"
    )
    v2.run(hidden, "sleep 1000 & disown", env=mark).ok()
    assert none_marked(mark)


# Errors, in v2's words


def test_a_command_that_fails(v2: Builder) -> None:
    result = v2.run("echo before", "exit 3")
    assert result.error.startswith("Failed to run '['bash', '-c', ")
    assert result.error.endswith("(status=3).")
    assert result.left == []


def test_what_cannot_be_copied(v2: Builder) -> None:
    missing = str(v2.top / "missing")
    result = v2.run("true", copy_in=[[missing, "@BUILDER_DIR@"]])
    assert result.error.startswith("Failed to copy-in: ")
    assert missing in result.error
    assert result.left == []
    result = v2.run("true", copy_out=v2.to_out("missing"))
    assert result.error.startswith("Failed to copy-out: ")
    assert result.left == []
    v2.run("true", copy_out=v2.to_out("missing-dbgsym_1"), patterns=["-dbgsym_"]).ok()


@pytest.mark.parametrize(
    ("script", "what", "led"),
    [
        ("true", "/etc/passwd", "/etc/passwd is not below /builder"),
        (
            "ln -s /etc/passwd x",
            "/builder/x",
            "/builder/x leads to /etc/passwd, which is not below",
        ),
        ("ln -s .. x", "/builder/x/etc/passwd", "leads to /etc/passwd, which is not below"),
        ("ln -s x x", "/builder/x", "/builder/x has too many symbolic links"),
    ],
)
def test_only_the_builder_directory_is_kept(v2: Builder, script: str, what: str, led: str) -> None:
    """A build may leave any link; the host's files are not what it leads to."""
    result = v2.run(f"cd /builder && {script}", copy_out=[[what, str(v2.top / "out")]])
    assert result.error.startswith("Failed to copy-out: ")
    assert led in result.error
    assert os.listdir(v2.top / "out") == []


def test_links_below_the_builder_directory_are_followed(v2: Builder) -> None:
    script = "mkdir a && echo text >a/file && ln -s /builder/a b && ln -s ../b/file a/link"
    v2.run(f"cd /builder && {script}", copy_out=[["/builder/a/link", str(v2.top / "out")]]).ok()
    assert v2.out("file") == "text\n"


def test_what_nsbuild_says_is_in_the_error(v2: Builder) -> None:
    result = v2.run("true", options={"seed": "x"})
    assert result.error.endswith(
        "(status=125). nsbuild: --seed 'x': not a number (give a whole number from 0 up)"
    )
    assert result.left == []
    result = v2.run("true", options={"command": "/no/such/nsbuild"})
    assert result.error.startswith("Failed to run nsbuild: ")
    assert "/no/such/nsbuild" in result.error
    assert result.left == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sead": 1}, "Executor nsbuild: no option 'sead'; there is: command, epoch, network, "),
        ({"root": "relative"}, "Executor nsbuild: root 'relative': not an absolute path."),
        ({"verify": "often"}, "Executor nsbuild: verify 'often': neither true nor false."),
    ],
)
def test_options_that_make_no_sense(v2: Builder, options: dict[str, object], words: str) -> None:
    assert v2.run("true", options=options).error.startswith(words)


def test_the_builder_directory_can_be_kept(v2: Builder) -> None:
    result = v2.run("echo x >@BUILDER_DIR@/x && false", options={"clean-on-error": False})
    assert result.error.startswith("Failed to run")
    assert any(path.endswith("/builder/x") for path in result.left)
    kept = v2.run("true", options={"clean": False, "directory": str(v2.own(v2.top / "other"))})
    assert kept.error == ""
    assert any(path.endswith("/builder") for path in kept.left)


def test_other_types_are_still_v2s(v2: Builder) -> None:
    v2.run("echo local >@BUILDER_DIR@/said", kind="local", copy_out=v2.to_out("said")).ok()
    assert v2.out("said") == "local\n"
    assert v2.run("true", kind="none").error == "Cannot determine which executor to use."


@pytest.mark.parametrize("stage", ["sign", "publish", "upload"])
def test_stages_that_work_on_the_host_are_refused(v2: Builder, stage: str) -> None:
    """What they change there would be thrown away without a word."""
    result = v2.run("true", stage=stage)
    assert result.error.startswith(f"Failed to run stage {stage}: it changes files of the host")
    stages = [{stage: {"executor": {"type": "local"}}}]
    command = {"command": v2.nsbuild}
    assert v2.run("true", stage=stage, stages=stages, options=command).error == ""


def interfaces(table: str) -> set[str]:
    """The names in /proc/net/dev."""
    return {line.split(":")[0].strip() for line in table.splitlines() if ":" in line}


def test_a_stage_has_options_of_its_own(v2: Builder) -> None:
    stages = [{"fetch": {"executor": {"options": {"network": "host"}}}}]
    links = "cat /proc/net/dev >@BUILDER_DIR@/said"
    seen = {}
    for stage in ("fetch", "build"):
        v2.run(links, stage=stage, stages=stages, copy_out=v2.to_out("said")).ok()
        seen[stage] = interfaces(v2.out("said"))
    assert seen["build"] == {"lo"}
    assert seen["fetch"] == interfaces(Path("/proc/net/dev").read_text())


# What repeats

PROBE = (
    "cd @BUILDER_DIR@",
    "{ date +%s.%N; cat /proc/sys/kernel/random/uuid; echo $$; pwd; hostname; } >said",
    "stat -c %Y said >>said",
)


def probed(v2: Builder, kind: str = "nsbuild", **options: object) -> str:
    v2.run(*PROBE, kind=kind, options=options, copy_out=v2.to_out("said")).ok()
    return v2.out("said")


def test_two_runs_are_equal(v2: Builder) -> None:
    assert probed(v2, "local") != probed(v2, "local")
    first = probed(v2)
    next_second(time.time())
    other = str(v2.own(v2.top / "another-directory"))
    assert probed(v2, directory=other) == first
    assert probed(v2, seed=1) != first
    assert probed(v2, epoch="2026-09-01").startswith("178822080")


def counting(v2: Builder) -> tuple[list[str], Path]:
    """A command that leads to nsbuild and changes a file of the host each time."""
    counter = v2.file("counter", "")
    script = f'echo run >>{counter}; exec {" ".join(v2.nsbuild)} "$@"'
    return ["sh", "-c", script, "sh"], counter


def test_verify_runs_twice_and_copies_out_what_is_equal(v2: Builder) -> None:
    command, counter = counting(v2)
    given = v2.file("given", "given\n")
    v2.run(
        *PROBE,
        "mkdir tree && ln -s said tree/link",
        "echo more >>given",
        options={"command": command, "verify": True},
        copy_in=[[str(given), "@BUILDER_DIR@"]],
        copy_out=v2.to_out("said", "tree", "given", "missing-dbgsym_1"),
        patterns=["-dbgsym_"],
    ).ok()
    assert counter.read_text() == "run\nrun\n"
    assert v2.out("given") == "given\nmore\n"
    assert os.readlink(v2.top / "out/tree/link") == "said"
    v2.run("true", options={"command": command, "verify": True}).ok()
    assert counter.read_text() == "run\n" * 3, "nothing to compare, so once is enough"


def test_verify_names_what_differs(v2: Builder) -> None:
    command, counter = counting(v2)
    where = v2.own(v2.top / "verify")
    options = {"command": command, "verify": True, "directory": str(where)}
    job = (
        "cd @BUILDER_DIR@ && mkdir -p tree/same",
        f'n=$(wc -l <{counter}) && echo "run $n" >tree/file && ln -s "to $n" tree/link',
        'touch "tree/only $n" tree/mode && [ "$n" = 1 ] || chmod 700 tree/mode',
    )
    result = v2.run(*job, options=options, copy_out=v2.to_out("tree"))
    assert result.error == (
        "Failed to verify: two runs differ: "
        "/builder/tree/file differs at byte 4 (6 and 6 bytes long); "
        "/builder/tree/link is a link to 'to 1' and 'to 2'; "
        "/builder/tree/mode has the modes 644 and 700; "
        "/builder/tree/only 1 exists after the first run only; "
        "/builder/tree/only 2 exists after the second run only"
    )
    assert os.listdir(where) == []
    assert os.listdir(v2.top / "out") == []
    counter.write_text("")
    result = v2.run(*job, options={**options, "clean-on-error": False}, copy_out=v2.to_out("tree"))
    kept = result.error.rpartition("(both are in ")[2].rstrip(")")
    assert (Path(kept) / "second/0/tree/file").read_text() == "run 2\n"


# A root of its own


def test_a_root_is_read_only_and_has_a_builder_directory(v2: Builder) -> None:
    root = v2.own(v2.top / "root")
    for name in ("proc", "sys", "dev", "tmp", "run", "root", "var", "var/tmp", "bin"):
        v2.own(root / name)
    shutil.copy("/bin/bash", root / "bin/bash")
    shutil.copy("/usr/bin/env", root / "bin/env")
    said = subprocess.run(
        ["ldd", "/bin/bash", "/usr/bin/env"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    for word in {word for word in said.split() if word.startswith("/") and word[-1] != ":"}:
        (root / word[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(word, root / word[1:])
    subprocess.run(["chmod", "-R", "a+rX", str(root)], check=True, timeout=60)
    result = v2.run(
        "echo /* >/builder/said",
        "echo home >/root/x && echo scratch >/var/tmp/x && echo temporary >/tmp/x",
        "{ echo no >/new || echo read-only >>/builder/said; }",
        options={"root": str(root)},
        copy_out=v2.to_out("said"),
    )
    assert result.error == "", result
    found = v2.out("said").split()
    assert "/builder" in found
    assert "/etc" not in found, "the host's root"
    assert found[-1] == "read-only"
    assert not list((root / "root").iterdir())
    assert not (root / "new").exists()


# A Debian package

CONTROL = """\
Source: small
Maintainer: Nobody <nobody@example.org>
Section: misc
Priority: optional
Standards-Version: 4.6.2
Rules-Requires-Root: no
Build-Depends: debhelper-compat (= 13)

Package: small
Architecture: any
Depends: ${shlibs:Depends}, ${misc:Depends}
Description: small program
 It says when it was compiled.
"""
RULES = """\
#!/usr/bin/make -f
%:
\tdh $@
override_dh_auto_build:
\tcc -g -O2 -DWHEN="\\"$$(date)\\"" -o small small.c
override_dh_auto_install:
\tinstall -D small debian/small/usr/bin/small
"""
CHANGELOG = """\
small (1.0) unstable; urgency=medium

  * First.

 -- Nobody <nobody@example.org>  Wed, 01 Apr 2015 12:00:00 +0000
"""


def debian_source(v2: Builder) -> Path:
    """A native source package."""
    top = v2.own(v2.top / "small")
    v2.own(top / "debian")
    v2.own(top / "debian/source")
    v2.file("small/debian/control", CONTROL).chmod(0o644)
    v2.file("small/debian/changelog", CHANGELOG).chmod(0o644)
    v2.file("small/debian/rules", RULES)
    v2.file("small/debian/source/format", "3.0 (native)\n").chmod(0o644)
    v2.file("small/small.c", "#include <stdio.h>\nint main(void) { puts(WHEN); }\n").chmod(0o644)
    return top


def built(v2: Builder, source: Path, kind: str) -> dict[str, bytes]:
    """Kind of file -> content, of the package built once."""
    machine = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    files = [f"small_1.0_{machine}.{end}" for end in ("deb", "buildinfo", "changes")]
    files += ["small_1.0.dsc", "small_1.0.tar.xz"]
    out = v2.top / "out"
    shutil.rmtree(out)
    v2.own(out)
    v2.run(
        "cd @BUILDER_DIR@/small",
        "dpkg-buildpackage -us -uc",
        kind=kind,
        copy_in=[[str(source), "@BUILDER_DIR@"]],
        copy_out=v2.to_out(*files),
    ).ok()
    return {name.rpartition(".")[2]: (out / name).read_bytes() for name in files}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["nsbuild", "inside"])
def test_a_debian_package_is_equal_twice(v2: Builder, kind: str) -> None:
    needs_tools("dpkg-buildpackage", "dh", "cc")
    source = debian_source(v2)
    bare = [built(v2, source, "local")]
    first = built(v2, source, kind)
    next_second(time.time())
    bare.append(built(v2, source, "local"))
    second = built(v2, source, kind)
    assert {ending for ending in first if first[ending] != second[ending]} == set()
    assert {"deb", "buildinfo", "changes"} <= {k for k in first if bare[0][k] != bare[1][k]}
