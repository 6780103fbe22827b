"""Containerfiles: words, variables, stages, and what is refused with the line that is at fault."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.build import containerfile, expand
from nsbuild.build.containerfile import Containerfile, parse
from nsbuild.build.ignore import Ignore
from nsbuild.errors import NsbuildError

VARIABLES = {"A": "one", "TWO": "a b", "EMPTY": "", "_x1": "under"}


def read(text: str, **given: str) -> Containerfile:
    return parse(text, given)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A-${A}", "one-one"),
        ("$_x1.$NOT", "under."),
        ("${NOT:-d} ${NOT-d} ${EMPTY:-d} [${EMPTY-d}]", "d d d []"),
        ("${A:+s} [${NOT:+s}] ${EMPTY+s} [${EMPTY:+s}]", "s [] s []"),
        ("${NOT:-$A ${TWO}}", "one a b"),
        (r"\$A '$A' "[:-1] + ' "$A"', "$A $A one"),
        (r'"a\"b\c"', r'a"b\c'),
        ("a$", "a$"),
        ("$1", "$1"),
        (r"a\ b", "a b"),
    ],
)
def test_value(text: str, expected: str) -> None:
    assert expand.value(text, VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("$TWO", ["a", "b"]),
        ('"$TWO" x$TWO', ["a b", "xa", "b"]),
        ("$EMPTY a", ["a"]),
        ('"" a', ["", "a"]),
        ("x${EMPTY}y", ["xy"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert expand.words(text, VARIABLES) == expected


def test_pairs_in_both_forms() -> None:
    assert expand.pairs('A=$TWO B="x y" C=\\$A D=', VARIABLES) == {
        "A": "a b",
        "B": "x y",
        "C": "$A",
        "D": "",
    }
    assert expand.pairs("NAME all of  $A", VARIABLES) == {"NAME": "all of  one"}


@pytest.mark.parametrize("text", ["'a", '"a', "${A", "${}", "${A:?x}", "${A/b/c}", "${A:-x"])
def test_what_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(NsbuildError, match="cannot read"):
        expand.value(text, VARIABLES)


@given(st.lists(st.text("ab $\\'\"\t", max_size=6), max_size=4))
def test_what_a_shell_has_quoted_is_read_back(words: list[str]) -> None:
    assert expand.words(shlex.join(words), {}) == words


_PIECES = st.sampled_from(
    [
        "$A",
        "${A}",
        "$TWO",
        '"$TWO"',
        "'$A'",
        "${EMPTY:-x}",
        "${N-y}",
        "${A:+z}",
        "t",
        " ",
        "\\$",
        "''",
    ]
)


@given(st.lists(_PIECES, max_size=8))
def test_words_are_those_of_a_shell(pieces: list[str]) -> None:
    text = "".join(pieces)
    done = subprocess.run(
        ["/bin/sh", "-c", f'for word in {text}; do printf "%s\\n" "$word"; done'],
        env=VARIABLES,
        capture_output=True,
        text=True,
        check=True,
    )
    assert expand.words(text, VARIABLES) == done.stdout.split("\n")[:-1]


def test_stages_and_their_names() -> None:
    found = read(
        "ARG V=1\nFROM debian:$V AS Build\nRUN a \\\n  # between\n\n  b\nFROM scratch\n"
        "COPY --from=build --chown=1:2 /a /b\n",
        V="12",
    )
    build, last = found.stages
    assert (build.base, build.name, last.base, last.name) == ("debian:12", "build", "scratch", "")
    (run,) = build.instructions
    assert run.name == "RUN"
    assert run.text.split() == ["a", "b"]
    assert run.line == 3
    assert last.instructions[0].flags == {"from": "build", "chown": "1:2"}
    assert last.instructions[0].text == "/a /b"
    assert (found.number("BUILD"), found.number("1"), found.number("x")) == (0, 1, None)


def test_the_escape_character_can_be_chosen() -> None:
    found = read("# escape=`\nFROM scratch\nRUN a `\n b\\c\n")
    assert found.escape == "`"
    assert found.stages[0].instructions[0].text.split() == ["a", "b\\c"]


def test_exec_form() -> None:
    run, cmd = read('FROM a\nRUN ["x", "y z"]\nCMD [x]\n').stages[0].instructions
    assert run.exec_form() == ["x", "y z"]
    assert cmd.exec_form() is None


def test_arguments_take_what_is_given() -> None:
    found = read("FROM a\nARG X=1 Y=$X Z TARGETARCH\n").stages[0].instructions[0]
    known = {**containerfile.PLATFORM, "Z": "global"}
    assert containerfile.argument(found, known, {"X": "2"}, "\\") == {
        "X": "2",
        "Y": "2",
        "Z": "global",
        "TARGETARCH": "amd64",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM"),
        ("RUN x\nFROM a", "line 1: RUN: it comes before the first FROM"),
        ("FROM a\nRUN", "line 2: RUN: it is not complete"),
        ("FROM a\nRUN --mount=type=cache,target=/x y", "line 2: RUN: .*--mount"),
        ("FROM a\nCOPY --from x y", "line 2: COPY: --from has no value"),
        ("FROM a\nCOPY --chown=1", "line 2: COPY: it is not complete"),
        ("FROM a\nCOMPILE x", "line 2: COMPILE: there is no such instruction"),
        ("FROM a b", "line 1: FROM: it takes"),
        ("FROM a AS x\nFROM b AS X", "line 2: FROM: there is a stage x already"),
        ("FROM --platform=linux/arm64 a", "line 1: FROM: there are no images for linux/arm64"),
        ("FROM a\nARG 1=2", "line 2: ARG: '1' is not a name"),
        ("FROM a\nRUN cat <<EOF >x\ntext\nEOF\n", "line 2: RUN: here-documents"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(NsbuildError, match=message):
        arguments_of(text)


def arguments_of(text: str) -> None:
    for stage in read(text).stages:
        for instruction in stage.instructions:
            containerfile.argument(instruction, {}, {}, "\\")


def test_what_oci_cannot_say_is_left_out_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    assert read("FROM a\nHEALTHCHECK NONE\nONBUILD RUN x\n").stages[0].instructions == ()
    assert "line 2: HEALTHCHECK is left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "excluded", "included"),
    [
        (["*.o"], ["a.o"], ["d/a.o", "a.c"]),
        (["**/*.o"], ["a.o", "d/e/a.o"], ["a.c"]),
        (["/d/", "# c", ""], ["d", "d/x"], ["e/d"]),
        (["*", "!keep", "keep/not"], ["a", "keep/not"], ["keep", "keep/x"]),
        (["d/**"], ["d/x", "d/e/f"], ["e"]),
        (["a?b", "[x-z]"], ["acb", "y"], ["a/b", "w"]),
        (["a/**/b"], ["a/b", "a/c/d/b"], ["b"]),
    ],
)
def test_ignored(lines: list[str], excluded: list[str], included: list[str]) -> None:
    rules = Ignore(lines)
    assert [path for path in excluded if not rules.excludes(path)] == []
    assert [path for path in included if rules.excludes(path)] == []
    assert Ignore(["d"]).may_skip("d")
    assert not Ignore(["d", "!d/keep"]).may_skip("d")
