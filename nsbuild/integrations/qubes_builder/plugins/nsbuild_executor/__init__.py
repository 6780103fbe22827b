"""What qubes-builder v2 imports: from then on `executor: {type: nsbuild}` makes our executor.

v2 has no table of executors to add to: `Config.get_executor` compares the type with the names that
it knows. So that function is wrapped, and so is `get_executor_from_config`, the only place that
knows which stage an executor is for. v2 imports its plugins each time that it makes a plugin
manager, so this may run more than once.

Under GPL-3.0-or-later in combination with v2; see nsbuild.integrations.qubes_builder.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from qubesbuilder.config import Config

from .executor import NsbuildExecutor

PLUGINS: list[type] = []
"""v2's plugins of this module: none."""


def register() -> None:
    """Make v2's configuration know the type `nsbuild`."""
    if hasattr(Config, "knows_nsbuild"):
        return
    make_other = Config.get_executor
    make_for_stage = Config.get_executor_from_config

    @functools.wraps(make_other)
    def get_executor(options: Mapping[str, Any]) -> object:
        if options.get("type") != "nsbuild":
            return make_other(options)
        given = (options.get("options") or {}).items()
        return NsbuildExecutor(**{name.replace("-", "_"): value for name, value in given})

    @functools.wraps(make_for_stage)
    def get_executor_from_config(self: object, stage_name: str, plugin: object = None) -> object:
        executor = make_for_stage(self, stage_name, plugin)
        if isinstance(executor, NsbuildExecutor):
            executor.stage = stage_name
        return executor

    Config.get_executor = staticmethod(get_executor)
    Config.get_executor_from_config = get_executor_from_config
    Config.knows_nsbuild = True


register()
