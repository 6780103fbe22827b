"""The record of containers: an SQLite database, and a directory for each container.

A row comes before the directory and goes after it, so that whatever a kill leaves can be removed by
its name. Who runs a container is known by process number and start time: a row that says `running`
while that process is gone is put right by whoever reads it next. All changes of state are single
statements with the state they expect, so two that want the same cannot both have it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from nsbuild.errors import NsbuildError
from nsbuild.kernel.process import stat_fields
from nsbuild.tuples import NamedTuple

CREATED, RUNNING, EXITED, REMOVING = "created", "running", "exited", "removing"
KILLED = 137
"""The exit code of a container whose own processes were killed: 128 and SIGKILL."""

_DATABASE = "containers.sqlite"
_VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS containers (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL, image_id TEXT NOT NULL,
  spec TEXT NOT NULL, about TEXT NOT NULL, state TEXT NOT NULL, created INTEGER NOT NULL,
  started INTEGER NOT NULL, finished INTEGER NOT NULL, code INTEGER NOT NULL,
  pid INTEGER NOT NULL, since INTEGER NOT NULL, boot TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS departed (
  id TEXT PRIMARY KEY, started INTEGER NOT NULL, code INTEGER NOT NULL, gone INTEGER NOT NULL)
"""
_REMEMBERED = 600 * 10**9
"""Nanoseconds for which the exit code of a container outlives it, for those who waited for it."""
_LONGEST_WAIT = 60
"""Seconds that a statement waits for others to be done with the database."""
_START_TIME = 19
"""Field of /proc/PID/stat as `stat_fields` has them: 22 of proc_pid_stat(5)."""


class Record(NamedTuple):
    """A container. Times are nanoseconds since 1970, 0 for never.

    `spec` is the ContainerSpec as JSON, `about` what else its user has said of it, as JSON as well;
    `pid` is the front's, `since` when that process began and `boot` in which life of the machine.
    """

    id: str
    name: str
    image: str
    image_id: str
    spec: str
    about: str
    state: str = CREATED
    created: int = 0
    started: int = 0
    finished: int = 0
    code: int = 0
    pid: int = 0
    since: int = 0
    boot: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """`about`, read."""
        facts: dict[str, Any] = json.loads(self.about)
        return facts


class Records:
    """All containers of the state directory `place`, which is made where it is missing."""

    def __init__(self, place: str) -> None:
        self.place = place
        try:
            for path in (place, os.path.join(place, "containers")):
                os.makedirs(path, mode=0o700, exist_ok=True)
            self._db = sqlite3.connect(
                os.path.join(place, _DATABASE), timeout=_LONGEST_WAIT, isolation_level=None
            )
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise NsbuildError(f"cannot use the state directory {place}: {error}") from error

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise NsbuildError(f"the state in {self.place} is of a newer nsbuild")
        if version < _VERSION:
            # With a log of its own, nobody who reads waits for one who writes.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version={_VERSION}")
        self._db.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """Let go of the database: an open one must not go through a fork."""
        self._db.close()

    def directory(self, identity: str) -> str:
        """The directory of the container with the id `identity`."""
        return os.path.join(self.place, "containers", identity)

    def add(self, record: Record) -> None:
        """Enter a new container; raises NsbuildError if its name is taken."""
        marks = ", ".join("?" * len(record))
        try:
            self._db.execute(f"INSERT INTO containers VALUES ({marks})", record)
        except sqlite3.IntegrityError as error:
            (owner,) = self._db.execute(
                "SELECT id FROM containers WHERE name = ?", (record.name,)
            ).fetchone() or ("another",)
            raise NsbuildError(
                f'creating container storage: the container name "{record.name}" is already in use '
                f"by {owner}. You have to remove that container to be able to reuse that name: "
                "that name is already in use"
            ) from error

    def all(self) -> list[Record]:
        """All containers, the oldest first."""
        return list(self._select("1", ()))

    def find(self, wanted: str) -> Record:
        """The container with that name, id or beginning of an id; raises NsbuildError."""
        named = list(self._select("name = ? OR id = ?", (wanted, wanted)))
        if named:
            return named[0]
        found = []
        if wanted and all(letter in "0123456789abcdef" for letter in wanted):
            found = list(self._select("id GLOB ?", (wanted + "*",)))
        if len(found) > 1:
            raise NsbuildError(
                f"more than one result for container name or ID {wanted}: "
                "container name or ID is ambiguous"
            )
        if not found:
            raise NsbuildError(f'no container with name or ID "{wanted}" found: no such container')
        return found[0]

    def has_name(self, name: str) -> bool:
        """Whether a container is called so."""
        return bool(list(self._select("name = ?", (name,))))

    def has_id(self, identity: str) -> bool:
        """Whether there is a container with that full id."""
        return bool(list(self._select("id = ?", (identity,))))

    def _select(self, where: str, values: tuple[str, ...]) -> Iterator[Record]:
        order = "ORDER BY created, rowid"
        rows = self._db.execute(f"SELECT * FROM containers WHERE {where} {order}", values)
        for row in rows.fetchall():
            record = Record(*row)
            yield record if record.state != RUNNING or is_alive(record) else self._put_right(record)

    def _put_right(self, record: Record) -> Record:
        """The front was killed before it could say how the container had ended."""
        self._db.execute(
            "UPDATE containers SET state = ?, code = ?, finished = ? "
            "WHERE id = ? AND state = ? AND pid = ? AND since = ?",
            (EXITED, KILLED, time.time_ns(), record.id, RUNNING, record.pid, record.since),
        )
        row = self._db.execute("SELECT * FROM containers WHERE id = ?", (record.id,)).fetchone()
        return Record(*row) if row else record._replace(state=EXITED, code=KILLED)

    def begin(self, identity: str) -> bool:
        """We are about to run it; False if somebody else does, or it is gone."""
        pid = os.getpid()
        done = self._db.execute(
            "UPDATE containers SET state = ?, started = ?, finished = 0, code = 0, pid = ?, "
            "since = ?, boot = ? WHERE id = ? AND state IN (?, ?)",
            (
                *(RUNNING, time.time_ns(), pid, _since(pid), _boot()),
                *(identity, CREATED, EXITED),
            ),
        )
        return done.rowcount == 1

    def end(self, identity: str, code: int, state: str = EXITED) -> None:
        """Our run of it is over."""
        self._db.execute(
            "UPDATE containers SET state = ?, code = ?, finished = ?, pid = 0 "
            "WHERE id = ? AND state = ? AND pid = ?",
            (state, code, time.time_ns(), identity, RUNNING, os.getpid()),
        )

    def claim_removal(self, record: Record) -> bool:
        """Whether it is ours to remove; nobody runs it from here on."""
        done = self._db.execute(
            "UPDATE containers SET state = ? WHERE id = ? AND state != ?",
            (REMOVING, record.id, RUNNING),
        )
        return done.rowcount == 1

    def remove(self, identity: str) -> None:
        """Forget it, but for its exit code if it has run; its directory is gone."""
        now = time.time_ns()
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM departed WHERE gone < ?", (now - _REMEMBERED,))
            self._db.execute(
                "INSERT OR REPLACE INTO departed SELECT id, started, code, ? FROM containers "
                "WHERE id = ? AND started > 0",
                (now, identity),
            )
            self._db.execute("DELETE FROM containers WHERE id = ?", (identity,))

    def last_code(self, before: Record) -> int | None:
        """The exit code of a container that is gone, if it has run since `before` was read.

        Who waits for one that removes itself cannot rely on seeing it between its end and that.
        """
        row = self._db.execute(
            "SELECT code FROM departed WHERE id = ? AND (started > ? OR ?)",
            (before.id, before.started, before.state == RUNNING),
        ).fetchone()
        return int(row[0]) if row else None


def is_alive(record: Record) -> bool:
    """Whether the process that runs it is there still."""
    try:
        return _since(record.pid) == record.since and _boot() == record.boot
    except OSError:
        return False


def _since(pid: int) -> int:
    """When process `pid` began, in clock ticks since the machine started; OSError without one."""
    fields = stat_fields(f"/proc/{pid}")
    if fields[0] in (b"Z", b"X"):
        raise ProcessLookupError(pid)
    return int(fields[_START_TIME])


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
