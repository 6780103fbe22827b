"""The agenda: which of all deadlines in the container comes first.

Time in the container is that of a discrete-event simulation. While anything can run, no timeout
fires; when everything waits, the earliest deadline does, alone, and whoever it wakes runs until
everything waits again. So which one is the earliest must not depend on anything but what the
processes did: deadlines are compared by the monotonic reading at which they are due, equal ones by
the causal names of the processes that wait, and those of one process in the order in which they
were set. The monotonic clock is taken because it moves by what a program waits for, while a build
that asks for the date a hundred times has not waited a hundred seconds.
"""

from __future__ import annotations

import heapq
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

_SLACK = 64
_STRANGER = 1 << 62
"""Who has no causal name comes last."""


class Due(NamedTuple):
    """When something is due, in the order in which such things happen.

    `at` is in nanoseconds of the monotonic clock of whoever waits; `name` is `name_order` of its
    causal name, and `ordinal` counts what it has waited for before.
    """

    at: int
    name: tuple[int, ...]
    ordinal: int


def name_order(name: str) -> tuple[int, ...]:
    """What causal names are compared by: "1.10" comes after "1.9", and a child after its parent."""
    if name.startswith("?"):
        return _STRANGER, int(name[1:].partition(".")[0])
    return tuple(int(part) for part in name.split("."))


class Agenda(Generic[Item]):
    """Items and when each of them is due. An item is in it at most once."""

    def __init__(self) -> None:
        self._dues: dict[Item, Due] = {}
        self._heap: list[tuple[Due, int, Item]] = []
        self._entries = 0

    def __len__(self) -> int:
        return len(self._dues)

    def __contains__(self, item: Item) -> bool:
        return item in self._dues

    def enter(self, item: Item, due: Due) -> None:
        """`item` is due then, and not when it may have been due before."""
        self._dues[item] = due
        self._entries += 1
        heapq.heappush(self._heap, (due, self._entries, item))
        if len(self._heap) > 2 * len(self._dues) + _SLACK:
            # What has been removed would stay for as long as something earlier does.
            self._heap = [entry for entry in self._heap if self._dues.get(entry[2]) is entry[0]]
            heapq.heapify(self._heap)

    def remove(self, item: Item) -> None:
        """`item` will not happen, if it was in here at all."""
        self._dues.pop(item, None)

    def first(self) -> Item | None:
        """What is due first; None if there is nothing."""
        heap = self._heap
        while heap:
            due, _, item = heap[0]
            if self._dues.get(item) is due:
                return item
            heapq.heappop(heap)
        return None
