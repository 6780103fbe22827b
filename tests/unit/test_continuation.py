"""A clock that goes on: what a call leaves is what the next one shows, and edits come after it."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from nsbuild.determinism.clock import Clock, GlobalClock, Rates
from nsbuild.determinism.continuation import ROUND, Earlier, Left, Root, leave
from nsbuild.determinism.files import File, FileTable

SECOND = 1_000_000_000
EPOCH = 1_450_797_978 * SECOND
SINCE = 1_800_000_000 * SECOND
START = SINCE + 1000 * SECOND
KEY = (7, 8, 1)

VIRTUAL = st.integers(EPOCH, EPOCH + 10**6 * SECOND)
AFTER = st.integers(START, START + 10**6 * SECOND)
STEPS = st.integers(1, 10**10)
ROOTS = st.builds(Root, VIRTUAL, st.integers(0, 10**15), *[st.integers(0, 10**6)] * 4)


def written(time: int, kernel: int, table: FileTable | None = None) -> File:
    """A file made at `time`, as it is after the look that has put its time into it."""
    file = (table or FileTable()).bear(KEY, 5, b"name", time)
    stamp = file.look(kernel, START, EPOCH)
    assert stamp == time
    file.stamped(stamp)
    return file


def left(file: File) -> Left:
    entry = leave(file, "name")
    assert entry is not None
    return entry


def times(file: File) -> tuple[int, ...]:
    return file.number, file.mtime, file.ctime, file.birth, file.atime or 0


@given(ROOTS, st.builds(Rates, st.just(EPOCH), STEPS, STEPS))
def test_the_clock_goes_on_and_never_back(root: Root, rates: Rates) -> None:
    for clock in (Clock(rates), GlobalClock(rates)):
        Earlier(root).begin(clock)
        assert root.wall + rates.step <= clock.wall < root.wall + rates.step + ROUND
        assert clock.wall % ROUND == 0
        assert clock.next_wall() > clock.wall
        assert clock.monotonic == root.monotonic


@given(ROOTS, st.integers(0, 60 * SECOND))
def test_what_a_network_did_to_a_call_is_gone_in_the_next(root: Root, more: int) -> None:
    """Unless it has reached the hour, of which no test can say that it does not happen."""
    assume((root.wall + SECOND - 1) % ROUND + more < ROUND)
    clocks = Clock(Rates()), Clock(Rates())
    for clock, wall in zip(clocks, (root.wall, root.wall + more), strict=True):
        earlier = Earlier(root._replace(wall=wall), step=SECOND)
        earlier.begin(clock)
        assert earlier.edited == clock.wall
    assert clocks[0].wall == clocks[1].wall


def test_the_first_call_begins_at_the_epoch() -> None:
    clock, alone = Clock(Rates()), Clock(Rates())
    Earlier().begin(clock)
    assert (clock.wall, clock.monotonic) == (alone.wall, alone.monotonic)


@given(VIRTUAL, VIRTUAL, AFTER, ROOTS, st.booleans())
def test_a_file_that_was_left_is_shown_as_it_was(
    time: int, change: int, kernel: int, root: Root, old_atime: bool
) -> None:
    file = written(time, kernel)
    file.change(change)
    if old_atime:
        file.set_times(None, 12345)
    entry = left(file)
    earlier = Earlier(root, SINCE, {KEY: entry}, SECOND)
    table = FileTable(earlier.numbers())
    again = earlier.meet(table, KEY, 5)
    assert again is table.by_key[KEY]
    assert again is not None
    assert again.look(entry.seen, START, EPOCH) is None
    assert times(again) == times(file)
    assert left(again) == entry


@given(VIRTUAL, AFTER, st.integers(SINCE, START - 1), ROOTS, STEPS)
def test_an_edit_is_later_than_all_that_was_left(
    time: int, kernel: int, edit: int, root: Root, step: int
) -> None:
    earlier = Earlier(root, SINCE, {KEY: left(written(time, kernel))}, step)
    table = FileTable(earlier.numbers())
    known = earlier.meet(table, KEY, 5)
    unknown = table.add((9, 8, 1), 6, b"other")
    unknown.earlier = earlier
    for file in (known, unknown):
        assert file is not None
        assert file.look(edit, START, EPOCH) is None
        assert file.mtime > max(time, root.wall)
        assert file.own
        # And so it stays in the calls after it, even though time has gone on.
        later = Earlier(root._replace(wall=root.wall + step), SINCE, {KEY: left(file)}, step)
        again = later.meet(FileTable(), KEY, file.identity)
        assert again is not None
        assert again.look(edit, START, EPOCH) is None
        assert again.mtime == file.mtime


@given(st.integers(0, SINCE - 1) | AFTER, st.integers(0, START), ROOTS)
def test_what_is_older_than_the_build_or_of_the_future_is_an_input(
    kernel: int, born: int, root: Root
) -> None:
    earlier = Earlier(root, SINCE, {}, SECOND)
    assert earlier.judge(kernel, START, EPOCH, born) == (min(kernel, EPOCH), False)


@given(st.integers(0, START + 10**18), VIRTUAL, st.integers(0, START))
def test_before_the_first_call_everything_is_an_input(kernel: int, time: int, born: int) -> None:
    assert Earlier().judge(kernel, START, time, born) == (min(kernel, time), False)


@given(VIRTUAL, AFTER, ROOTS, st.integers(SINCE, START), st.integers(0, SINCE - 1))
def test_a_copy_keeps_the_time_of_what_it_is_of(
    time: int, kernel: int, root: Root, born: int, before: int
) -> None:
    assume(time > EPOCH)
    file = written(time, kernel)
    earlier = Earlier(root, SINCE, {KEY: left(file)}, SECOND)
    assert earlier.judge(time, START, EPOCH, born) == (time, True)
    assert earlier.judge(time + 1, START, EPOCH, born) == (EPOCH, False)
    assert earlier.judge(time, START, EPOCH, before) == (EPOCH, False)


@given(VIRTUAL, AFTER, VIRTUAL, AFTER)
def test_a_write_in_the_next_call_counts(time: int, kernel: int, again: int, now: int) -> None:
    earlier = Earlier(Root(time, 0), SINCE, {KEY: left(written(time, kernel))}, SECOND)
    file = earlier.meet(FileTable(), KEY, 5)
    assert file is not None
    file.write(again)
    assert file.look(now, START, EPOCH) == again
    assert file.mtime == again


@given(VIRTUAL, AFTER)
def test_another_inode_under_the_same_number_is_another_file(time: int, kernel: int) -> None:
    earlier = Earlier(Root(time, 0), SINCE, {KEY: left(written(time, kernel))}, SECOND)
    assert earlier.meet(FileTable(), KEY, 6) is None
    assert earlier.meet(FileTable(), (8, 8, 1), 5) is None


@given(st.binary(max_size=20), VIRTUAL, AFTER)
def test_new_files_do_not_get_old_numbers(name: bytes, time: int, kernel: int) -> None:
    table = FileTable()
    old = table.bear(KEY, 5, name, time)
    old.stamped(old.look(kernel, START, EPOCH) or 0)
    earlier = Earlier(Root(time, 0), SINCE, {KEY: left(old)}, SECOND)
    new = FileTable(earlier.numbers()).bear((9, 8, 1), 6, name, time)
    assert new.number != old.number


@given(st.integers(0, START))
def test_an_input_leaves_nothing(kernel: int) -> None:
    file = File(3, 0)
    assert leave(file, "never looked at") is None
    file.look(kernel, START, EPOCH)
    assert leave(file, "looked at") is None


@given(VIRTUAL, AFTER)
def test_what_nobody_looked_at_is_passed_on(time: int, kernel: int) -> None:
    entry = left(written(time, kernel))
    earlier = Earlier(Root(time, 0), SINCE, {KEY: entry, (9, 8, 1): entry}, SECOND)
    table = FileTable()
    earlier.meet(table, KEY, 5)
    assert earlier.untouched(table) == {(9, 8, 1): entry}
