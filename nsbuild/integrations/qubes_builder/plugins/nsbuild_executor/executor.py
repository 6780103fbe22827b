"""The executor: v2's local one, whose commands run under `nsbuild exec`.

v2's LocalExecutor copies files into a builder directory of a random name, runs commands there and
copies files out. Here that directory is the container's /builder, so that commands, which name it,
are the same on every run. Copying translates between the two names. What is left to v2 is the order
of things, the placeholders and its own error texts.

Under GPL-3.0-or-later in combination with v2; see nsbuild.integrations.qubes_builder.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from qubesbuilder.executors import ExecutorError
from qubesbuilder.executors.local import LocalExecutor

from . import places
from .compare import differences
from .options import BUILDER_DIR, Options, parse

_HOST_STAGES = frozenset(("sign", "publish", "upload"))
"""Stages that change the host's own files in place. In a container those changes would be lost."""
_NSBUILD_FAILED = range(125, 128)
_SHOWN = 5

Copies = Iterable[tuple[Path, Path]]


class _Listener:
    """Stands before the executor's log and remembers what nsbuild itself said last."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.complaint = ""

    def debug(self, line: str, *arguments: object) -> None:
        """See logging.Logger."""
        if line.startswith("nsbuild: "):
            self.complaint = line
        self._log.debug(line, *arguments)

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


class NsbuildExecutor(LocalExecutor):  # type: ignore[misc]
    """Type `nsbuild`; docs/qubes-builder.md has the options. Raises ExecutorError, in one line."""

    log: logging.Logger
    stage = ""
    """Which stage it is for, where v2 says so."""

    def __init__(self, directory: str | Path = "/tmp", **options: object) -> None:
        try:
            self._options: Options = parse(options)
        except ValueError as error:
            raise ExecutorError(f"Executor nsbuild: {error}.") from error
        own = {name: options[name] for name in ("clean", "clean_on_error") if name in options}
        super().__init__(directory=directory, **own)
        self._variables: dict[str, str] = {}
        self._complaint = ""
        self._again = (
            NsbuildExecutor(directory, **{**options, "verify": False})
            if self._options.verify
            else None
        )

    # What a plugin asks. Everything runs as the container's root.

    def get_builder_dir(self) -> Path:
        """The builder directory, as commands see it."""
        return Path(BUILDER_DIR)

    def get_user(self) -> str:
        """Who commands run as."""
        return "root"

    def get_group(self) -> str:
        """Their group."""
        return "root"

    # Copying, between host and builder directory

    def copy_in(self, source_path: Path, destination_dir: Path, action: str = "copy-in") -> None:
        """Copy the host's file or directory into a directory below /builder."""
        self._copy(source_path, self._on_host(destination_dir, action), action)

    def copy_out(self, source_path: Path, destination_dir: Path) -> None:
        """Copy a file or directory below /builder into a directory of the host."""
        self._copy(self._on_host(source_path, "copy-out"), destination_dir, "copy-out")

    def _on_host(self, inside: Path, action: str) -> Path:
        try:
            return places.on_host(str(inside), self._builder_dir)
        except ValueError as error:
            raise ExecutorError(f"Failed to {action}: {error}.") from error

    def _copy(self, source: Path, directory: Path, action: str) -> None:
        try:
            super().copy_in(source, directory, action)
        except OSError as error:
            # Those that v2 does not expect, such as a file that the caller may not read.
            raise ExecutorError(f"Failed to {action}: {error}") from error

    # Running

    def run(
        self,
        cmd: list[str],
        copy_in: Copies | None = None,
        copy_out: Copies | None = None,
        files_inside_executor_with_placeholders: list[Path] | None = None,
        environment: dict[str, str] | None = None,
        no_fail_copy_out_allowed_patterns: list[str] | None = None,
        **options: object,
    ) -> None:
        """See v2. With `verify`, run twice and copy out only what both runs agree on."""
        if self.stage in _HOST_STAGES:
            raise ExecutorError(
                f"Failed to run stage {self.stage}: it changes files of the host, which a "
                "container cannot; give the stage an executor of type local."
            )
        self._variables = dict(environment or {})
        options.update(
            cmd=cmd,
            copy_in=copy_in,
            files_inside_executor_with_placeholders=files_inside_executor_with_placeholders,
            environment=environment,
            no_fail_copy_out_allowed_patterns=no_fail_copy_out_allowed_patterns,
        )
        wanted = sorted(set(copy_out or ()), key=lambda pair: pair[1])
        if self._again and wanted:
            self._run_twice(self._again, options, wanted)
        else:
            self._run_once(options, wanted)

    def _run_once(self, options: dict[str, object], copy_out: Copies) -> None:
        self._complaint = ""
        try:
            super().run(copy_out=copy_out, **options)
        except ExecutorError as error:
            if not self._complaint:
                raise
            raise ExecutorError(f"{error} {self._complaint}", **error.kwargs) from error

    def _run_twice(
        self,
        again: NsbuildExecutor,
        options: dict[str, object],
        copy_out: Sequence[tuple[Path, Path]],
    ) -> None:
        """Two builder directories; what is copied out waits in a third place to be compared."""
        again.log, again._variables = self.log, self._variables
        parent = self._temporary_dir.parent
        parent.mkdir(parents=True, exist_ok=True)
        top = Path(tempfile.mkdtemp(prefix="nsbuild-verify-", dir=parent))
        keep = False
        try:
            for name, executor in (("first", self), ("second", again)):
                out = [(src, top / name / str(n)) for n, (src, _) in enumerate(copy_out)]
                executor._run_once(options, out)
            found = [
                difference
                for n, (source, _) in enumerate(copy_out)
                for difference in _compare(top / "first" / str(n), top / "second" / str(n), source)
            ]
            if found:
                keep = not self._clean_on_error
                raise ExecutorError(_verdict(found, top if keep else None))
            for n, (_, destination) in enumerate(copy_out):
                for path in _entries(top / "first" / str(n)):
                    self._copy(path, destination, "copy-out")
        finally:
            if not keep:
                shutil.rmtree(top)

    def execute(
        self,
        cmd: list[str],
        collect: bool = False,
        stdin: bytes = b"",
        echo: bool = True,
        **options: object,
    ) -> object:
        """Run `cmd` in a container of its own, started from the host's root.

        `env` is what v2 made of this process's environment and the variables that were asked for;
        only the latter get in.
        """
        options.update(env=None, cwd="/")
        variables = [f"{name}={value}" for name, value in self._variables.items()]
        if "SOURCE_DATE_EPOCH" not in self._variables:
            # nsbuild sets it, and tools take it for the source's date. v2's other executors leave
            # it to dpkg-buildpackage and rpmbuild to find that in the changelog.
            cmd = ["env", "-u", "SOURCE_DATE_EPOCH", *cmd]
        line = self._options.command_line(str(self._builder_dir), variables, cmd, bool(stdin))
        log, heard = self.log, _Listener(self.log)
        self.log = heard  # type: ignore[assignment]
        try:
            self._make_mount_point()
            done = super().execute(line, collect=collect, stdin=stdin, echo=echo, **options)
            if (done[0] if collect else done) in _NSBUILD_FAILED:
                self._complaint = heard.complaint
            return done
        except OSError as error:
            raise ExecutorError(f"Failed to run nsbuild: {error}.") from error
        finally:
            self.log = log

    def _make_mount_point(self) -> None:
        """A root that is mounted read-only must have the place of /builder already."""
        if self._options.root != "/":
            Path(self._options.root + BUILDER_DIR).mkdir(exist_ok=True)

    # Afterwards

    def cleanup(self) -> None:
        """Remove the builder directory.

        What users of the container other than root left there, an ordinary user cannot remove;
        the container's root can.
        """
        try:
            shutil.rmtree(self._temporary_dir)
        except PermissionError:
            self._remove_as_root()
        except OSError as error:
            raise ExecutorError(_not_clean(error)) from error

    def _remove_as_root(self) -> None:
        options = self._options._replace(root="/", passed_on=())
        command = ["rm", "-rf", "--", f"{BUILDER_DIR}/{self._builder_dir.name}"]
        line = options.command_line(str(self._temporary_dir), (), command, False)
        done = subprocess.run(
            line, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ExecutorError(_not_clean(done.stderr.strip() or f"status={done.returncode}"))
        try:
            self._temporary_dir.rmdir()
        except OSError as error:
            raise ExecutorError(_not_clean(error)) from error


def _not_clean(why: object) -> str:
    """In v2's words."""
    return f"Failed to clean executor temporary directory: {why}"


def _entries(directory: Path) -> list[Path]:
    """What is in a directory, which need not be there."""
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _compare(first: Path, second: Path, source: Path) -> Iterable[str]:
    """How what two runs copied out differs; `source` is what was to be copied."""
    names = sorted({path.name for path in (*_entries(first), *_entries(second))})
    shown = {name: str(source.with_name(name)) for name in names}
    return itertools.chain.from_iterable(
        differences(str(first / name), str(second / name), shown[name]) for name in names
    )


def _verdict(found: Sequence[str], kept: Path | None) -> str:
    """The error for two runs that differ, in one line."""
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    text = f"Failed to verify: two runs differ: {'; '.join([*found[:_SHOWN], *more])}"
    return f"{text} (both are in {kept})" if kept else text
