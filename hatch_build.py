"""Builds the optional C extension while the package is built; see libfaketime_ext/README.md.

Without a C compiler or Python's headers the package is built without it, and works the same.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = tuple(
    f"libfaketime_ext/{name}.c"
    for name in (
        *("changes", "directories", "entropy", "files", "guest", "hotcalls", "looks", "memo"),
        *("numbers", "renew", "times", "turns"),
    )
)


class HotCalls(BuildHookInterface):  # type: ignore[misc, type-arg]
    """Compiles the extension into the package, where an editable installation finds it too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling.builders.hooks.plugin.interface."""
        del version
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
