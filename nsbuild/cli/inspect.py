"""nsbuild inspect: all that is known of an image or a container, as JSON or by a template.

What can be inspected is a table here; each kind has a function that finds one by its name. The
modules are loaded when they are asked for.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from nsbuild.cli.gotemplate import Template
from nsbuild.cli.output import pretty_json
from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.errors import EXIT_OURS, NsbuildError, report
from nsbuild.images.store import Store

KINDS: dict[str, tuple[str, str]] = {
    "container": ("nsbuild.cli.containerview", "find_container"),
    "image": ("nsbuild.cli.inspect", "find_image"),
}
"""Kind -> module, and function of a name that gives what is shown, or None where there is none."""


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    return inspect(arguments, "inspect", ("all", *KINDS))


def image(arguments: list[str]) -> int:
    """Run `image inspect`; returns the exit code."""
    return inspect(arguments, "image inspect", ("image",))


def container(arguments: list[str]) -> int:
    """Run `container inspect`; returns the exit code."""
    return inspect(arguments, "container inspect", ("container",))


def inspect(arguments: list[str], verb: str, kinds: tuple[str, ...]) -> int:
    """Run `verb` for things of one of `kinds`, the first unless --type says another."""
    begin()
    parser = PodmanParser(verb, "[OPTIONS] NAME [NAME...]", "Show what is known of each NAME.")
    add = parser.add_argument
    add("-f", "--format", metavar="TEMPLATE", default="json", help="json, or a template of Go")
    if len(kinds) > 1:
        add("-t", "--type", choices=kinds, default=kinds[0], help="what NAME is (all)")
    if "container" in kinds:
        add("-l", "--latest", action="store_true", help="the container that was made last")
    if kinds == ("image",):
        add("--packages", action="store_true", help="show the packages in it, of dpkg and rpm")
        add("--files", action="store_true", help="show the files in it, with their digests")
        add("--sbom", action="store_true", help="show both as SPDX in JSON")
    add("names", metavar="NAME", nargs="*")
    options = parser.parse_args(arguments)
    if getattr(options, "latest", False):
        from nsbuild.cli.containerview import latest_name

        options.names.append(latest_name())
    if not options.names:
        raise NsbuildError("no images or containers to inspect: give at least one name")
    if kinds == ("image",) and (options.packages or options.files or options.sbom):
        return int(importlib.import_module("nsbuild.cli.packages").show(options))
    kind = getattr(options, "type", kinds[0])
    found, missing = [], []
    for name in options.names:
        thing = find(name, tuple(KINDS) if kind == "all" else (kind,))
        if thing is None:
            missing.append(_missing(name, kind))
        else:
            found.append(thing)
    if options.format == "json":
        sys.stdout.write(pretty_json(found))
    else:
        template = Template(options.format.replace("\\t", "\t").replace("\\n", "\n"), "inspect")
        sys.stdout.write("".join(f"{template.render(thing)}\n" for thing in found))
    for complaint in missing:
        report(complaint)
    return EXIT_OURS if missing else 0


def _missing(name: str, kind: str) -> str:
    if kind == "all":
        return f'inspecting object: no such object: "{name}"'
    return f"inspecting object: {name}: {kind} not known"


def find(name: str, kinds: tuple[str, ...]) -> dict[str, Any] | None:
    """What is shown of the thing that `name` means, looked for among `kinds` in turn."""
    for kind in kinds:
        module, function = KINDS[kind]
        found: dict[str, Any] | None = getattr(importlib.import_module(module), function)(name)
        if found is not None:
            return found
    return None


def find_image(name: str) -> dict[str, Any] | None:
    """What is shown of an image."""
    from nsbuild.cli.imageview import inspected
    from nsbuild.images.documents import OCI_MANIFEST, decode

    store = Store.default()
    found = store.find(name)
    if found is None:
        return None
    manifest = decode(store.manifest(found), "the manifest")
    return inspected(found, manifest.get("mediaType", OCI_MANIFEST), store.trees(found))
