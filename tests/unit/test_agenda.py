"""The agenda against a list that is sorted anew each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nsbuild.determinism.agenda import Agenda, Due, name_order

NAMES = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(
    lambda parts: ".".join(map(str, [1, *parts]))
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("enter", "remove", "happen")),
        st.integers(0, 6),
        st.integers(0, 5),
        NAMES,
    ),
    max_size=60,
)


@given(STEPS)
def test_the_first_is_the_least_of_what_is_in_it(steps: list[tuple[str, int, int, str]]) -> None:
    agenda: Agenda[int] = Agenda()
    model: dict[int, Due] = {}
    for ordinal, (what, item, at, name) in enumerate(steps):
        if what == "enter":
            model[item] = Due(at, name_order(name), ordinal)
            agenda.enter(item, model[item])
        elif what == "remove":
            model.pop(item, None)
            agenda.remove(item)
        expected = min(model, key=lambda key: model[key], default=None)
        assert agenda.first() == expected
        assert len(agenda) == len(model)
        if what == "happen" and expected is not None:
            del model[expected]
            agenda.remove(expected)
            assert expected not in agenda


@given(st.permutations([("1.9", 3), ("1.10", 1), ("1", 2), ("1.9.1", 5)]))
def test_equal_deadlines_come_in_the_order_of_names(entries: list[tuple[str, int]]) -> None:
    """Whoever was entered first: that depends on the schedule."""
    agenda: Agenda[str] = Agenda()
    for name, ordinal in entries:
        agenda.enter(name, Due(7, name_order(name), ordinal))
    order = []
    while (first := agenda.first()) is not None:
        order.append(first)
        agenda.remove(first)
    assert order == ["1", "1.9", "1.9.1", "1.10"]


def test_one_process_keeps_the_order_in_which_it_asked() -> None:
    agenda: Agenda[str] = Agenda()
    for ordinal, item in enumerate(("first", "second", "third")):
        agenda.enter(item, Due(7, name_order("1"), ordinal))
    assert agenda.first() == "first"


def test_who_has_no_causal_name_comes_last() -> None:
    assert name_order("?300") > name_order("1.4000.2")
    assert name_order("?300.2") > name_order("1")
