"""The configuration, as far as it makes executors."""

from __future__ import annotations

from typing import Any

from qubesbuilder.executors import ExecutorError
from qubesbuilder.executors.local import LocalExecutor
from qubesbuilder.pluginmanager import PluginManager


class Config:
    """Made of what is written in builder.yml."""

    def __init__(self, conf: dict[str, Any]) -> None:
        self._conf = conf

    def get_plugin_manager(self) -> PluginManager:
        """A new one, for the directories of `plugins-dirs`."""
        return PluginManager(self._conf.get("plugins-dirs", []))

    def get_executor_from_config(self, stage_name: str, plugin: object = None) -> object:
        """The default executor, with what the stage says merged into it."""
        del plugin
        chosen: dict[str, Any] = dict(self._conf["executor"])
        for stage in self._conf.get("stages", []):
            if isinstance(stage, dict) and stage_name in stage:
                own = stage[stage_name]["executor"]
                merged = {**chosen.get("options", {}), **own.get("options", {})}
                chosen = {**chosen, **own, "options": merged}
        return self.get_executor(chosen)

    @staticmethod
    def get_executor(options: dict[str, Any]) -> object:
        """The executor of a type."""
        given = {name.replace("-", "_"): v for name, v in options.get("options", {}).items()}
        if options.get("type") == "local":
            return LocalExecutor(**given)
        raise ExecutorError("Cannot determine which executor to use.")
