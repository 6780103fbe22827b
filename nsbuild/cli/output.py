"""What verbs print: tables, JSON, or what a template of --format makes of each row.

Tables look as Podman's: columns at least 12 wide and two spaces apart, headings in capitals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nsbuild.cli.gotemplate import Template
from nsbuild.errors import NsbuildError

_MINIMUM, _PADDING = 12, 2
_CALLS = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_FIELD = re.compile(r"\.(\w+)")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lines of columns; a row's last column is not padded."""
    if not rows:
        return ""
    widths = [
        max(_MINIMUM, _PADDING + max(len(row[column]) for row in rows if column < len(row)))
        for column in range(max(map(len, rows)))
    ]
    lines = []
    for row in rows:
        padded = [cell.ljust(widths[column]) for column, cell in enumerate(row[:-1])]
        lines.append("".join([*padded, *row[-1:]]))
    return "".join(f"{line}\n" for line in lines)


def formatted(
    template: str,
    rows: Iterable[Mapping[str, Any]],
    headings: Mapping[str, str],
    heading: bool = True,
    name: str = "format",
) -> str:
    """The rows as `template` has them: `json`, `table TEMPLATE`, or TEMPLATE for each line.

    `headings` are those of fields whose heading is not their name in capitals.
    """
    if template == "json":
        return pretty_json([_without_methods(row) for row in rows], indent=4)
    wants_table = template.startswith("table") and not template[5:6].isalnum()
    text = template.removeprefix("table").lstrip() if wants_table else template
    # On a command line \t and \n are two characters each, which Podman takes for one.
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    parsed = Template(text, name)
    lines = [parsed.render(dict(row)) for row in rows]
    if not wants_table:
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
    first = [_CALLS.sub(lambda found: _heading(found[0], headings), text)] if heading else []
    return table([line.rstrip("\n").split("\t") for line in first + lines])


def _without_methods(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not callable(value)}


def _heading(action: str, headings: Mapping[str, str]) -> str:
    """What stands above an action's column: the heading of the last field in it."""
    fields = _FIELD.findall(action)
    return headings.get(fields[-1], fields[-1].upper()) if fields else ""


def pretty_json(value: Any, indent: int = 5) -> str:  # noqa: ANN401 - any JSON
    """JSON as Podman prints it: indented by five by `inspect`, by four in lists."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent) + "\n"


def write_image_id(path: str, image: str) -> None:
    """Write an image's id where --iidfile says; raises NsbuildError."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"sha256:{image}")
    except OSError as error:
        raise NsbuildError.from_os(f"cannot write {path}", error) from error
