"""nsbuild image inspect --packages, --files and --sbom: what is in an image."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from nsbuild import __version__
from nsbuild.cli import human, imageview
from nsbuild.cli.gotemplate import Template
from nsbuild.cli.output import pretty_json
from nsbuild.images import packages
from nsbuild.images.contents import Contents, File, read
from nsbuild.images.documents import Image
from nsbuild.images.sbom import spdx
from nsbuild.images.store import Store


def show(options: argparse.Namespace) -> int:
    """What the options of `image inspect` ask for of each image; returns the exit code."""
    store = Store.default()
    found = []
    for name in options.names:
        image = store.image(name)
        contents = read(store, image, packages.is_database)
        if options.sbom:
            title = image.names[0] if image.names else image.id
            created = human.moment(imageview.created(image))
            listed = packages.read(contents.texts)
            document = spdx(image, title, listed, contents.files, created, __version__)
            sys.stdout.write(json.dumps(document, indent=2, sort_keys=True) + "\n")
        else:
            found.append(_described(image, contents, options))
    if found and options.format != "json":
        template = Template(options.format, "inspect")
        sys.stdout.write("".join(f"{template.render(one)}\n" for one in found))
    elif found:
        sys.stdout.write(pretty_json(found))
    return 0


def _described(image: Image, contents: Contents, options: argparse.Namespace) -> dict[str, Any]:
    shown: dict[str, Any] = {"Id": image.id, "Digest": image.digest}
    if options.packages:
        shown["Packages"] = [
            {
                "Type": one.kind,
                "Name": one.name,
                "Version": one.version,
                "Architecture": one.architecture,
                "License": one.license,
            }
            for one in packages.read(contents.texts)
        ]
    if options.files:
        shown["Files"] = [_file(path, file) for path, file in sorted(contents.files.items())]
    return shown


def _file(path: str, file: File) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Path": f"/{path}",
        "Type": file.kind,
        "Mode": f"{file.mode:04o}",
        "Uid": file.uid,
        "Gid": file.gid,
        "Time": file.time / 1_000_000_000,
    }
    if file.kind == "file":
        shown.update(Size=file.size, Sha256=file.sha256)
    if file.target:
        shown["Target"] = file.target
    if file.xattrs:
        shown["Attributes"] = {name: value.hex() for name, value in file.xattrs}
    return shown
