"""File times and numbers: which time is shown, and what a number depends on."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from nsbuild.determinism.files import AS_MTIME, File, FileTable, StandIn, file_number

SECOND = 1_000_000_000
EPOCH = 1_450_797_978 * SECOND
START = 1_800_000_000 * SECOND

VIRTUAL = st.integers(EPOCH, EPOCH + 10**6 * SECOND)
BEFORE = st.integers(0, START - 1)
AFTER = st.integers(START, START + 10**6 * SECOND)
NAMES = st.binary(min_size=1, max_size=40)


def look(file: File, kernel: int) -> int | None:
    return file.look(kernel, START, EPOCH)


def stamped(file: File, kernel: int) -> int:
    """Look as the supervisor does: the stamp goes into the file; returns the kernel's time then."""
    stamp = look(file, kernel)
    if stamp is None:
        return kernel
    file.stamped(stamp)
    return stamp


@given(BEFORE)
def test_an_input_is_shown_as_it_is_but_never_later_than_the_epoch(kernel: int) -> None:
    file = File(3, 0)
    assert look(file, kernel) is None
    assert file.mtime == file.ctime == min(kernel, EPOCH)
    assert not file.own


@given(AFTER, VIRTUAL)
def test_what_was_written_has_the_time_of_the_event(kernel: int, time: int) -> None:
    file = File(3, 0)
    file.write(time)
    assert look(file, kernel) == time
    file.stamped(time)
    assert (file.mtime, file.ctime, file.own) == (time, time, True)


@given(st.integers(0, 10**12), VIRTUAL, st.sampled_from((1, 2)))
def test_what_was_written_where_times_are_coarse(since: int, time: int, grain: int) -> None:
    """Also in the very second in which the container began (ext4 with small inodes; FAT)."""
    start = START + 1_234_567_891
    kernel = start + since
    file = File(3, 0)
    file.write(time)
    assert file.look(kernel - kernel % (grain * SECOND), start, EPOCH) == time


@given(st.integers(0, 10**13 * SECOND), st.sampled_from((1, SECOND, 2 * SECOND)))
def test_explicit_times_are_shown_as_they_were_set(wanted: int, grain: int) -> None:
    """However the file system keeps them."""
    file = File(3, 0)
    file.write(EPOCH + 5)
    file.set_times(wanted, None)
    kept = min(wanted - wanted % grain, 15_032_385_535 * SECOND)
    assert look(file, kept) is None
    assert (file.mtime, file.own) == (wanted, False)


def test_a_time_at_the_end_of_a_file_systems_range_that_nobody_set() -> None:
    file = File(3, 0)
    file.write(EPOCH + 5)
    file.set_times(EPOCH + 7, None)
    assert look(file, ((1 << 31) - 1) * SECOND) == EPOCH + 5


@given(BEFORE, VIRTUAL)
def test_an_open_without_a_write_changes_nothing(kernel: int, time: int) -> None:
    file = File(3, 0)
    look(file, kernel)
    file.write(time)
    assert look(file, kernel) is None
    assert file.mtime == min(kernel, EPOCH)


@given(BEFORE, VIRTUAL, VIRTUAL)
def test_a_rewrite_counts_even_if_the_kernel_does_not_say_so(
    kernel: int, early: int, late: int
) -> None:
    """ftruncate(2) to the size that a file has."""
    early, late = sorted((early, late))
    file = File(3, 0)
    look(file, kernel)
    for time in (early, late):
        file.write(time)
        file.rewrite()
        assert stamped(file, kernel) == time
        assert file.mtime == time
    file.set_times(kernel, None)
    look(file, kernel)
    assert file.mtime == kernel


@given(AFTER, AFTER, VIRTUAL, VIRTUAL)
def test_a_write_after_a_look_is_seen_however_soon(
    first: int, second: int, early: int, late: int
) -> None:
    """The kernel's time may be the same for both writes; the stamp makes the difference."""
    early, late = sorted((early, late))
    file = File(3, 0)
    file.write(early)
    kernel = stamped(file, first)
    assert kernel == early
    file.write(late)
    assert stamped(file, second) == late
    assert file.mtime == late


@given(st.lists(VIRTUAL, min_size=1), AFTER)
def test_the_order_in_which_events_arrive_does_not_matter(times: list[int], kernel: int) -> None:
    shown = []
    for order in (times, times[::-1], sorted(times)):
        file = File(3, 0)
        for time in order:
            file.write(time)
        stamped(file, kernel)
        shown.append(file.mtime)
    assert len(set(shown)) == 1
    assert shown[0] == max(times)


@given(st.integers(0, 1 << 62), AFTER, VIRTUAL)
def test_explicit_times_are_kept_exactly(wanted: int, kernel: int, time: int) -> None:
    file = File(3, 0)
    file.write(time)
    stamped(file, kernel)
    assume(wanted != file.seen)
    file.set_times(wanted, None)
    file.change(time)
    assert look(file, wanted) is None
    assert file.mtime == wanted
    assert not file.own
    assert file.ctime == time


@given(VIRTUAL, AFTER, VIRTUAL)
def test_an_mtime_that_could_not_be_set_changes_nothing(
    time: int, kernel: int, wanted: int
) -> None:
    file = File(3, 0)
    file.write(time)
    kernel = stamped(file, kernel)
    assume(wanted != time)
    file.set_times(wanted, None)
    assert look(file, kernel) is None
    assert file.mtime == time


@given(VIRTUAL, VIRTUAL, AFTER)
def test_an_atime_stays_until_both_times_are_set_to_now(wanted: int, time: int, late: int) -> None:
    file = File(3, 0)
    file.set_times(None, wanted)
    file.write(time)
    stamped(file, late)
    assert file.atime == wanted
    file.set_times(None, AS_MTIME)
    assert file.atime is None


@given(BEFORE, VIRTUAL, AFTER)
def test_an_input_keeps_its_birth_time(before: int, time: int, after: int) -> None:
    file = File(3, 0)
    look(file, before)
    file.write(time)
    stamped(file, after)
    assert file.mtime == time
    assert file.birth == min(before, EPOCH)


@given(AFTER)
def test_a_write_from_outside_is_shown_as_the_epoch(kernel: int) -> None:
    """The log to which a caller has redirected the command's output is not ours to stamp."""
    file = File(3, 0)
    assert look(file, kernel) is None
    assert (file.mtime, file.own) == (EPOCH, False)


@given(VIRTUAL, VIRTUAL, BEFORE)
def test_ctime_is_never_before_a_change(first: int, second: int, kernel: int) -> None:
    file = File(3, 0)
    look(file, kernel)
    file.change(first)
    file.change(second)
    assert file.ctime == max(first, second)


@given(NAMES)
def test_numbers_fit_in_31_bits_and_are_no_special_ones(name: bytes) -> None:
    assert 3 <= file_number(name) < 1 << 31


@given(st.sets(NAMES, min_size=2, max_size=30))
def test_numbers_do_not_depend_on_the_order_of_sight(names: set[bytes]) -> None:
    def numbers(order: list[bytes]) -> dict[bytes, int]:
        table = FileTable()
        return {name: table.add((i, 8, 1), 0, name).number for i, name in enumerate(order)}

    forwards = numbers(sorted(names))
    assert numbers(sorted(names, reverse=True)) == forwards
    assert len(set(forwards.values())) == len(names)


def test_two_files_never_share_a_number() -> None:
    table = FileTable()
    first, second = table.add((1, 8, 1), 0, b"a"), table.add((2, 8, 1), 0, b"a")
    assert first.number != second.number


def test_an_inode_that_is_used_again_is_another_file() -> None:
    table = FileTable()
    file = table.add((1, 8, 1), 100, b"a")
    assert table.find((1, 8, 1), 100, copied_up=False) is file
    assert table.find((1, 8, 1), 200, copied_up=False) is None


def test_a_copy_up_changes_only_the_birth_time() -> None:
    table = FileTable()
    file = table.add((1, 8, 1), 100, b"a")
    assert table.find((1, 8, 1), 200, copied_up=True) is file
    born = table.bear((2, 8, 1), 100, b"b", EPOCH)
    assert table.find((2, 8, 1), 100, copied_up=True) is born
    assert table.find((2, 8, 1), 200, copied_up=True) is None


def test_a_stand_in_is_a_file_of_its_own_kind_with_its_device() -> None:
    table = FileTable()
    file = table.bear((9, 0, 1), 77, b"birth", 5, (1, 3))
    assert isinstance(file, StandIn)
    assert file.device == (1, 3)
    assert (file.btime, file.written) == (5, 5)
    assert table.find((9, 0, 1), 77, False) is file
    # The extension for hot calls looks at plain files alone.
    assert type(file) is not File
    assert type(table.bear((9, 0, 2), 77, b"other", 5)) is File
