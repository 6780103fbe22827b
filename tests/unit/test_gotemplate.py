"""The templates of --format, against what Go's text/template and Podman give for the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.cli.gotemplate import Template
from nsbuild.cli.output import formatted, table
from nsbuild.errors import NsbuildError

VALUE: dict[str, Any] = {
    "ID": "abc",
    "Names": ["a", "b"],
    "None": [],
    "Config": {"Env": ["A=1"], "Labels": {"x": "y", "a": "<&>"}},
    "Size": 3,
    "On": True,
    "Off": False,
    "Nil": None,
    "Label": lambda key: f"label {key}",
}


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("no action", "no action"),
        ("{{.ID}}", "abc"),
        ("{{ .ID }}/{{.Size}}/{{.On}}/{{.Nil}}", "abc/3/true/<nil>"),
        ("{{.Names}} {{.Config.Labels}}", "[a b] map[a:<&> x:y]"),
        ("{{json .Config.Labels}}", '{"x":"y","a":"<&>"}'),
        ("{{.Config.Env | json}}", '["A=1"]'),
        ('{{join .Names ","}}', "a,b"),
        ("{{range .Names}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=<&>;x=y;"),
        ("{{range $i, $n := .Names}}{{$i}}{{$n}}{{end}}", "0a1b"),
        ("{{range .Names}}{{$.ID}}{{end}}", "abcabc"),
        ("{{if .Off}}1{{else if .Nil}}2{{else if .On}}3{{else}}4{{end}}", "3"),
        ("{{if and .On (eq .Size 3)}}yes{{end}}", "yes"),
        ("{{if or .Off (not .Nil)}}yes{{end}}", "yes"),
        ("{{with .Config}}{{.Env}}{{end}}", "[A=1]"),
        ("{{with .Nil}}x{{else}}none{{end}}", "none"),
        ("{{with $x := .Config}}{{$x.Env}}{{end}}", "[A=1]"),
        ("{{$x := .ID}}{{$x}}{{$x = .Size}}{{$x}}", "abc3"),
        ('{{index .Config.Labels "x"}}{{index .Names 1}}', "yb"),
        ("{{.Config.Labels.x}}{{.Config.Labels.missing}}", "y"),
        ('{{.Label "x"}}', "label x"),
        ("{{len (index .Names 0)}}{{len .Names}}", "12"),
        ('{{printf "%-5s|%05d|%q|%%|%v" .ID .Size .ID .Names}}', 'abc  |00003|"abc"|%|[a b]'),
        ("a {{- .ID -}} b", "aabcb"),
        ("a {{- /* }} is a comment */ -}} b", "ab"),
        ('{{"a }} b\\n"}}{{`raw\\n`}}', "a }} b\nraw\\n"),
        ("{{upper .ID}}{{.ID | title}}{{truncate .ID 2}}", "ABCAbcab"),
        ("{{ne .Size 3}}{{lt .Size 4}}{{ge .Size 4}}", "falsetruefalse"),
        ("{{(index .Names 0) | printf `%s!`}}", "a!"),
        ("{{println .ID}}", "abc\n"),
    ],
)
def test_templates(template: str, shown: str) -> None:
    assert Template(template).render(VALUE) == shown


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{.Missing}}", "can't evaluate field Missing"),
        ("{{.Nil.Field}}", "nil pointer evaluating .Field"),
        ("{{.ID", "unclosed action"),
        ("{{if .On}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{if}}{{end}}", "missing value for if"),
        ("{{nothing .ID}}", 'function "nothing" not defined'),
        ("{{$x}}", "undefined variable"),
        ("{{range .Size}}{{end}}", "can't iterate over 3"),
        ("{{len .Size}}", "error calling len"),
        ("{{(len .ID}}", "unclosed left paren"),
        ("{{.ID .Size}}", "can't give argument"),
        ('{{template "x"}}', "not supported"),
        ("{{.ID ?}}", "unexpected '?'"),
    ],
)
def test_what_is_no_template(template: str, why: str) -> None:
    with pytest.raises(NsbuildError) as caught:
        Template(template).render(VALUE)
    assert why in str(caught.value)
    assert str(caught.value).startswith("template: format: ")


@given(st.text())
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        shown = Template(text).render(VALUE)
    except NsbuildError:
        return
    if "{{" not in text:
        assert shown == text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_is_json(value: Any) -> None:  # noqa: ANN401
    assert json.loads(Template("{{json .}}").render(value)) == value


def test_a_table_has_headings_and_columns() -> None:
    rows = [{"ID": "1" * 12, "Names": "first"}, {"ID": "2", "Names": "second"}]
    shown = formatted("table {{.ID}}\\t{{.Names}}", rows, {"ID": "IMAGE ID"})
    assert shown == "IMAGE ID      NAMES\n111111111111  first\n2             second\n"
    bare = formatted("table {{.ID}}\\t{{.Names}}", rows, {}, heading=False)
    assert bare == "111111111111  first\n2             second\n"
    assert formatted("{{.ID}}", rows, {}) == "111111111111\n2\n"
    assert json.loads(formatted("json", [VALUE], {}))[0]["ID"] == "abc"
    assert table([["a", "b"]]) == "a           b\n"
