"""What every executor has: the names of directories, placeholders, and running a command."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO


class ExecutorError(Exception):
    """A failure, with what else is known of it in `kwargs`."""

    def __init__(self, *words: object, **known: object) -> None:
        super().__init__(*words)
        self.kwargs = known


class Executor:
    """The base of all executors."""

    log = logging.getLogger("executor")
    _builder_dir = Path("/builder")

    def __init__(self, clean: bool = True, **others: object) -> None:
        self._kwargs = others
        self._clean = clean
        self._clean_on_error = bool(others.get("clean_on_error", clean))

    def get_builder_dir(self) -> Path:
        """The directory that everything happens in, as commands name it."""
        return self._builder_dir

    def get_build_dir(self) -> Path:
        """One below it."""
        return self.get_builder_dir() / "build"

    def get_plugins_dir(self) -> Path:
        """Another."""
        return self.get_builder_dir() / "plugins"

    def replace_placeholders(self, text: str) -> str:
        """Put the directories' names in."""
        text = text.replace("@BUILDER_DIR@", str(self.get_builder_dir()))
        text = text.replace("@PLUGINS_DIR@", str(self.get_plugins_dir()))
        return text.replace("@BUILD_DIR@", str(self.get_build_dir()))

    def execute(
        self,
        cmd: list[str],
        collect: bool = False,
        stdin: bytes = b"",
        echo: bool = True,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
    ) -> int | tuple[int, bytes, bytes]:
        """Run `cmd` and log its lines; its status, and with `collect` what it said."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(cmd, stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=cwd)
        said: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        say = self.log.debug if echo else None
        readers = [
            threading.Thread(target=_read, args=(getattr(process, name), said[name], say))
            for name in said
        ]
        for reader in readers:
            reader.start()
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        for reader in readers:
            reader.join()
        code = process.wait()
        return (code, b"".join(said["stdout"]), b"".join(said["stderr"])) if collect else code


def _read(stream: IO[bytes], into: list[bytes], say: Callable[[str], None] | None) -> None:
    for line in stream:
        into.append(line)
        if say is not None:
            say(line.decode(errors="replace").rstrip())
