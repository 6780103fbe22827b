"""What is known of a container once it is gone, for who waits for one that removes itself."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from nsbuild.container import records as module
from nsbuild.container.life import await_exit
from nsbuild.container.records import Record, Records
from nsbuild.service.watching import exit_code


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(str(tmp_path))


def made(records: Records) -> Record:
    records.add(Record("a" * 64, "one", "image", "", "{}", "{}", created=1))
    return records.find("one")


def run_and_remove(records: Records, code: int) -> None:
    """All the life of a container, between two looks at it."""
    assert records.begin("a" * 64)
    records.end("a" * 64, code)
    assert records.claim_removal(records.find("one"))
    records.remove("a" * 64)


@pytest.mark.parametrize("code", [0, 5])
def test_its_code_outlives_it(records: Records, code: int) -> None:
    before = made(records)
    assert records.last_code(before) is None
    run_and_remove(records, code)
    assert records.all() == []
    assert records.last_code(before) == code


def test_one_that_never_ran_has_none(records: Records) -> None:
    before = made(records)
    assert records.claim_removal(before)
    records.remove(before.id)
    assert records.last_code(before) is None


def test_a_run_before_the_question_does_not_answer_it(records: Records) -> None:
    made(records)
    assert records.begin("a" * 64)
    records.end("a" * 64, 5)
    before = records.find("one")
    assert records.claim_removal(before)
    records.remove("a" * 64)
    assert records.last_code(before) is None


def test_it_is_forgotten_in_time(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    before = made(records)
    run_and_remove(records, 5)
    monkeypatch.setattr(module, "_REMEMBERED", -1)
    made(records)
    records.remove(before.id)
    assert records.last_code(before) is None


def test_who_waits_for_the_next_exit_is_told(records: Records) -> None:
    before = made(records)

    async def wait() -> int | None:
        waiting = asyncio.create_task(exit_code(records.place, before, True))
        await asyncio.sleep(0)
        run_and_remove(records, 5)
        return await waiting

    assert asyncio.run(wait()) == 5


def test_who_waits_for_one_that_runs_is_told(records: Records) -> None:
    made(records)
    assert records.begin("a" * 64)
    running = records.find("one")
    records.end("a" * 64, 5)
    assert records.claim_removal(records.find("one"))
    records.remove("a" * 64)
    gone = running._replace(since=running.since - 1)
    assert await_exit(records, gone) == 5


def test_a_database_of_before_is_taken_over(tmp_path: Path) -> None:
    before = made(Records(str(tmp_path)))
    with sqlite3.connect(tmp_path / "containers.sqlite") as database:
        database.execute("DROP TABLE departed")
        database.execute("PRAGMA user_version=1")
    records = Records(str(tmp_path))
    run_and_remove(records, 5)
    assert records.last_code(before) == 5
