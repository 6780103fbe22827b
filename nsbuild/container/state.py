"""The directory in which a build of several calls keeps how far it has come (`--state`).

There is one file in it, `state.json`, which a call reads at its start and replaces at its end, in
one step and only if its command has run: a call that is killed leaves the state as it was. For that
long the directory is locked. Who comes second is refused and does not wait: two commands of a
pipeline would wait for each other for ever, and the order of others would be chance.

The file is JSON with one line for each file that the calls have left (see
nsbuild.determinism.continuation). `version` goes up with any change of its form or meaning.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import Any

from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.determinism.continuation import NEVER, Earlier, Left, Root
from nsbuild.determinism.files import Key
from nsbuild.errors import NsbuildError

NAME = "state.json"
VERSION = 1
_NEW = ".state.json.new"
_FORMAT = "nsbuild state"
_COLUMNS = ["inode", "major", "minor", *Left._fields]
_LARGEST = 1 << 70
"""Beyond all numbers in it."""


class State:
    """The state of one build: `epoch` in seconds and `seed` are None until its first call.

    `earlier` is what the calls before have left. `made` says that `claim` has made the directory.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.epoch: int | None = None
        self.seed: int | None = None
        self.calls = 0
        self.made = False
        self._root: Root | None = None
        self._since = NEVER
        self._files: dict[Key, Left] = {}
        self._directory = -1
        # Whoever saves has joined the container, where nothing can be imported.
        import json

        self._json = json

    def earlier(self, step: int) -> Earlier:
        """What the calls so far have left, for one whose clock moves by `step` nanoseconds."""
        return Earlier(self._root, self._since, self._files, step)

    def describe(self) -> str:
        """What --debug says."""
        if self._root is None:
            return f"begin a build in {self.path}"
        seconds, rest = divmod(self._root.wall, NSEC_PER_SEC)
        return f"go on with {self.path}: call {self.calls + 1}, after {seconds}.{rest:09} s"

    def load(self) -> None:
        """Lock and read what is there; nothing where the directory is missing."""
        try:
            self._directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error("use", error) from error
        try:
            self._lock()
            text = self._text()
            if text is not None:
                self._read(text)
        except NsbuildError:
            self.close()
            raise

    def close(self) -> None:
        """Let others use it."""
        os.close(self._directory)
        self._directory = -1

    def _text(self) -> bytes | None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(NAME, flags, dir_fd=self._directory)
            with open(fd, "rb") as file:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise self._corrupt("not a regular file")
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error("read", error) from error

    def claim(self) -> None:
        """Make sure that it can be saved; raises NsbuildError."""
        if self._directory < 0:
            try:
                os.makedirs(self.path, exist_ok=True)
            except OSError as error:
                raise self._error("make", error) from error
            self.made = True
            self.load()
            if self._root is not None:
                # Another call has begun, and ended, this build since we looked.
                self.close()
                raise self._busy()
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=self._directory, effective_ids=True):
            read_only = os.fstatvfs(self._directory).f_flag & os.ST_RDONLY
            raise self._error("write to", OSError(errno.EROFS if read_only else errno.EACCES, ""))

    def save(self, seed: int, epoch: int, start: int, root: Root, files: dict[Key, Left]) -> None:
        """Replace what is there. `start` is when the call began, in real nanoseconds."""
        since = start if self._root is None else self._since
        head = {
            "format": _FORMAT,
            "version": VERSION,
            "epoch": epoch,
            "seed": seed,
            "calls": self.calls + 1,
            "since": since,
            "root": root._asdict(),
            "columns": _COLUMNS,
        }
        dumps = self._json.dumps
        rows = ",\n".join(dumps([*key, *left]) for key, left in files.items())
        text = f'{dumps(head, indent=1)[:-2]},\n "files": [\n{rows}\n ]\n}}\n'
        try:
            self._replace(text.encode())
        except OSError as error:
            raise self._error(
                "save", error, "the clock of the next call would not go on"
            ) from error

    def _replace(self, text: bytes) -> None:
        directory = self._directory
        with contextlib.suppress(FileNotFoundError):
            # What a call left that was killed while it saved.
            os.unlink(_NEW, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(_NEW, flags, 0o644, dir_fd=directory)
        try:
            with open(fd, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(fd)
            os.rename(_NEW, NAME, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.unlink(_NEW, dir_fd=directory)
            raise
        os.fsync(directory)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._busy() from None
        except OSError as error:
            raise self._error("lock", error) from error

    def _read(self, text: bytes) -> None:
        try:
            # Also when it is not UTF-8.
            content = self._json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._corrupt(f"not JSON: {error}") from None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise self._corrupt("it does not say that it is one")
        version = content.get("version")
        if version != VERSION:
            raise NsbuildError(
                f"cannot use state {self.path}/{NAME}: it has version {version!r}, "
                f"and this nsbuild knows {VERSION}",
                "remove the directory to begin a new build",
            )
        try:
            self._take(content)
        except (KeyError, TypeError, ValueError) as error:
            raise self._corrupt(f"{type(error).__name__}: {error}") from None

    def _take(self, content: dict[str, Any]) -> None:
        if content["columns"] != _COLUMNS or not isinstance(content["root"], dict):
            raise ValueError("columns or root")
        root = {str(name): _number(value) for name, value in content["root"].items()}
        files = dict(map(_row, content["files"]))
        self._root = Root(**root)
        self._since = _number(content["since"])
        self.calls = _number(content["calls"])
        self.epoch, self.seed = _number(content["epoch"]), _number(content["seed"], 1 << 400)
        self._files = files

    def _error(self, what: str, error: OSError, hint: str = "") -> NsbuildError:
        return NsbuildError.from_os(f"cannot {what} state {self.path}", error, hint)

    def _busy(self) -> NsbuildError:
        return NsbuildError(
            f"state {self.path} is in use by another call of nsbuild",
            "the calls of a build come one after another; give each build a state of its own",
        )

    def _corrupt(self, why: str) -> NsbuildError:
        return NsbuildError(
            f"{self.path}/{NAME} is not a state of nsbuild: {why}",
            "remove the directory to begin a new build",
        )


def _number(value: object, limit: int = _LARGEST) -> int:
    if type(value) is not int or not -limit <= value <= limit:
        raise ValueError(f"{value!r} is not a number that belongs there")
    return value


def _row(row: list[Any]) -> tuple[Key, Left]:
    key, rest = row[:3], dict(zip(Left._fields, row[3:], strict=True))
    left = Left(**rest)
    if type(left.own) is not bool or type(left.name) is not str:
        raise ValueError(f"the line of {left.name!r}")
    for value in (*key, left.identity, left.number, left.seen, left.mtime, left.changed):
        _number(value)
    for optional in (left.btime, left.first, left.atime):
        if optional is not None:
            _number(optional)
    inode, major, minor = key
    return (inode, major, minor), left
