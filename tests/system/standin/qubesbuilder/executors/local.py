"""The executor without a container: a directory of a random name, and the host's own programs."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from qubesbuilder.executors import Executor, ExecutorError

Pairs = Iterable[tuple[Path, Path]]


class LocalExecutor(Executor):  # type: ignore[misc]
    """Copies in, runs, copies out, and cleans up."""

    def __init__(self, directory: str | Path = "/tmp", **others: object) -> None:
        super().__init__(**others)
        self._directory = directory
        self._temporary_dir = Path(directory).resolve() / f"{id(self)}{str(uuid.uuid4())[:8]}"
        self._builder_dir = self._temporary_dir / "builder"
        self._builder_dir_exists = False

    def copy_in(self, source_path: Path, destination_dir: Path, action: str = "copy-in") -> None:
        """Copy a file or a tree into a directory."""
        source, directory = source_path.resolve(), destination_dir.resolve()
        try:
            if source.is_dir():
                shutil.rmtree(directory / source.name, ignore_errors=True)
                shutil.copytree(source, directory / source.name, symlinks=True)
            else:
                directory.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, directory)
        except (shutil.Error, FileNotFoundError, FileExistsError) as error:
            raise ExecutorError(f"Failed to {action}: {error}") from error

    def copy_out(self, source_path: Path, destination_dir: Path) -> None:
        """The same in the other direction."""
        self.copy_in(source_path, destination_dir, action="copy-out")

    def cleanup(self) -> None:
        """Remove what was made."""
        shutil.rmtree(self._temporary_dir)

    def run(
        self,
        cmd: list[str],
        copy_in: Pairs | None = None,
        copy_out: Pairs | None = None,
        files_inside_executor_with_placeholders: list[Path] | None = None,
        environment: dict[str, str] | None = None,
        no_fail_copy_out_allowed_patterns: list[str] | None = None,
    ) -> None:
        """Everything, in this order."""
        self._builder_dir.mkdir(parents=True, exist_ok=self._builder_dir_exists)
        self._builder_dir_exists = True
        try:
            for source, directory in sorted(set(copy_in or ()), key=lambda pair: pair[1]):
                self.copy_in(source, directory)
            self._run(cmd, files_inside_executor_with_placeholders or [], environment)
            for source, directory in sorted(set(copy_out or ()), key=lambda pair: pair[1]):
                try:
                    self.copy_out(source, directory)
                except ExecutorError:
                    patterns = no_fail_copy_out_allowed_patterns or []
                    if not any(pattern in source.name for pattern in patterns):
                        raise
        except ExecutorError:
            if self._clean_on_error and self._temporary_dir.exists():
                self.cleanup()
            raise
        if self._clean and self._temporary_dir.exists():
            self.cleanup()

    def _run(self, cmd: list[str], files: list[Path], environment: dict[str, str] | None) -> None:
        script = "&&".join(cmd)
        if files:
            names = " ".join(self.replace_placeholders(str(name)) for name in files)
            script = f"sed -i 's#@BUILDER_DIR@#{self.get_builder_dir()}#g' {names};{script}"
        words = ["bash", "-c", script]
        env = None if environment is None else {**os.environ, **environment}
        code = self.execute(words, env=env)
        if code != 0:
            raise ExecutorError(f"Failed to run '{words}' (status={code}).")
