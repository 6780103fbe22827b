"""Builds the optional C extension and the man pages while the package is built.

Without a C compiler or Python's headers there is no extension (see libfaketime_ext/README.md), and
without pandoc there are no pages; nsbuild works the same.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = tuple(
    f"libfaketime_ext/{name}.c"
    for name in (
        *("changes", "directories", "entropy", "files", "guest", "hotcalls", "looks", "memo"),
        *("numbers", "renew", "times", "turns"),
    )
)


class BuiltParts(BuildHookInterface):  # type: ignore[misc, type-arg]
    """What of a wheel is made of something else; an editable one has it, too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling.builders.hooks.plugin.interface."""
        del version
        if self.target_name == "wheel":
            self._add_extension(build_data)
            self._add_man_pages(build_data)

    def _add_extension(self, build_data: dict[str, Any]) -> None:
        """Compile it into the package, where an editable installation finds it."""
        name = f"nsbuild/_hotcalls{sysconfig.get_config_var('EXT_SUFFIX')}"
        compiler = shlex.split(os.environ.get("CC") or "cc")
        include = sysconfig.get_paths()["include"]
        flags = [
            "-O2",
            "-Wall",
            "-Wextra",
            "-fPIC",
            "-fvisibility=hidden",
            "-shared",
            f"-I{include}",
        ]
        try:
            subprocess.run([*compiler, *flags, "-o", name, *SOURCES], cwd=self.root, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"nsbuild: no extension for hot calls: {error}", file=sys.stderr)
            return
        build_data["artifacts"].append(name)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def _add_man_pages(self, build_data: dict[str, Any]) -> None:
        """Put them where man(1) looks that finds our command in the PATH (manpath(1))."""
        root = Path(self.root)
        pages = root / ".cache" / "man"
        pages.mkdir(parents=True, exist_ok=True)
        for source in sorted((root / "docs" / "man").glob("*.md")):
            page = pages / source.stem
            command = ["pandoc", "--standalone", "--from=markdown-smart", "--to=man"]
            try:
                subprocess.run([*command, "--output", page, source], check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"nsbuild: no man pages: {error}", file=sys.stderr)
                return
            build_data["shared_data"][str(page)] = f"share/man/man1/{page.name}"
