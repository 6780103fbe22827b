"""Does one job with an executor of the stand-in, as v2 does it: builder.yml, plugins, a stage, run.

The job comes on stdin and the result goes to stdout, both as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from qubesbuilder.config import Config
from qubesbuilder.executors import ExecutorError
from qubesbuilder.executors.local import LocalExecutor


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See logging."""
        self.lines.append(record.getMessage())


def pairs(executor: Any, given: list[list[str]]) -> list[tuple[Path, Path]]:  # noqa: ANN401
    """Paths, with placeholders for the builder directory's."""
    return [
        (Path(executor.replace_placeholders(one)), Path(executor.replace_placeholders(two)))
        for one, two in given
    ]


def do(job: dict[str, Any]) -> dict[str, object]:
    """Run the job; what came of it."""
    result: dict[str, object] = {"error": "", "code": 0}
    try:
        config = Config(job["config"])
        for _ in range(2):
            config.get_plugin_manager().get_plugins()
        executor = config.get_executor_from_config(job.get("stage", "build"))
        result["local"] = isinstance(executor, LocalExecutor)
        result["who"] = [executor.get_user(), executor.get_group()] if job.get("who") else []
        executor.run(
            [executor.replace_placeholders(line) for line in job["cmd"]],
            pairs(executor, job.get("copy_in", [])),
            pairs(executor, job.get("copy_out", [])),
            environment=job.get("environment"),
            files_inside_executor_with_placeholders=job.get("files"),
            no_fail_copy_out_allowed_patterns=job.get("patterns"),
        )
    except ExecutorError as error:
        result["error"] = str(error)
    directory = Path(job["config"]["executor"]["options"]["directory"])
    result["left"] = sorted(map(str, directory.rglob("*")))
    if job.get("then_cleanup"):
        executor.cleanup()
        result["left_then"] = os.listdir(directory)
    return result


def main() -> None:
    """One job."""
    handler = Lines()
    logging.getLogger("executor").addHandler(handler)
    logging.getLogger("executor").setLevel(logging.DEBUG)
    json.dump({**do(json.load(sys.stdin)), "log": handler.lines}, sys.stdout)


if __name__ == "__main__":
    main()
