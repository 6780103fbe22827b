"""Imports whatever module lies in a directory of plugins."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


class PluginManager:
    """For some directories."""

    def __init__(self, directories: list[str]) -> None:
        self._directories = directories

    def get_plugins(self) -> list[type]:
        """Import every module, and collect what each calls PLUGINS."""
        found: list[type] = []
        for directory in self._directories:
            for path in sorted(Path(directory).iterdir()):
                init = path / "__init__.py"
                if init.exists() or path.suffix == ".py":
                    module = _load(path.stem, init if init.exists() else path)
                    found += getattr(module, "PLUGINS", [])
        return found


def _load(name: str, path: Path) -> ModuleType:
    full = f"qubesbuilder.plugins.{name}"
    spec = importlib.util.spec_from_file_location(full, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module
