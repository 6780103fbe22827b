"""Which containers a verb is about: by name or id, all of them, the latest, or by a filter."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from nsbuild.cli.podman import PodmanParser, need
from nsbuild.container.records import EXITED, REMOVING, Record, Records
from nsbuild.errors import NsbuildError, report
from nsbuild.images.store import Store

FILTERS = ("id", "name", "status", "exited", "ancestor", "label")


def open_records() -> Records:
    """The records of this user's containers; those that were to go with their end are gone."""
    records = Records(Store.default().path)
    for record in records.all():
        if record.state in (EXITED, REMOVING) and record.facts["rm"]:
            # Its front was killed before it could do so, or is at it.
            from nsbuild.cli.runspec import discard

            discard(records, record)
    return records


def add_choice(
    parser: PodmanParser, every: Sequence[str] = ("-a", "--all"), many: bool = True
) -> None:
    """The options and arguments by which containers are chosen; `every` is for all of them."""
    add = parser.add_argument
    if every:
        add(*every, action="store_true", help="all containers")
    add("-l", "--latest", action="store_true", help="the one that was made last")
    add("containers", metavar="CONTAINER", nargs="*" if many else "?", help="names or ids")


def chosen_names(options: argparse.Namespace, verb: str, records: Records) -> list[str]:
    """What the command line names: names as given, or the ids of all or of the latest."""
    given = options.containers
    names = list(given) if isinstance(given, list) else [given] if given else []
    everything = getattr(options, "all", False)
    if options.latest or everything:
        need(
            not names,
            f"--{'all' if everything else 'latest'} and containers cannot be used together",
        )
        found = records.all()
        need(bool(found) or everything, f"{verb}: no containers exist: no such container")
        return [record.id for record in (found if everything else found[-1:])]
    need(bool(names), "you must provide at least one name or id")
    return names


def one_record(options: argparse.Namespace, verb: str) -> tuple[Records, Record]:
    """The records, and the one container that a verb is about."""
    records = open_records()
    return records, records.find(chosen_names(options, verb, records)[0])


def each_record(
    options: argparse.Namespace,
    verb: str,
    act: Callable[[Records, Record, str], None],
    ignore: bool = False,
) -> int:
    """Do `act` for each container that was chosen, with the name that it was given by.

    What fails is said, and the others are done all the same; returns the exit code.
    """
    records = open_records()
    code = 0
    for name in chosen_names(options, verb, records):
        try:
            record = records.find(name)
        except NsbuildError as error:
            if not ignore:
                report(str(error))
                code = code or error.code
            continue
        try:
            act(records, record, name)
        except NsbuildError as error:
            report(str(error))
            code = error.code
    records.close()
    return code


def check_filters(filters: Sequence[str]) -> None:
    """NsbuildError unless all of them are filters."""
    for text in filters:
        name, equals, _ = text.partition("=")
        need(bool(equals), f"filter input must be in the form of filter=value: {text} is invalid")
        need(name in FILTERS, f"{name} is an invalid filter")


def matches(record: Record, filters: Sequence[str], state_of: Callable[[Record], str]) -> bool:
    """Whether a container passes each kind of `filters` (NAME=VALUE); one of a kind is enough."""
    kinds: dict[str, list[bool]] = {}
    for text in filters:
        name, _, value = text.partition("=")
        kinds.setdefault(name, []).append(_passes(record, name, value, state_of))
    labels = kinds.pop("label", [])
    return all(labels) and all(map(any, kinds.values()))


def _passes(record: Record, name: str, value: str, state_of: Callable[[Record], str]) -> bool:
    import re

    if name == "id":
        return record.id.startswith(value)
    if name == "name":
        return re.search(value, record.name) is not None
    if name == "status":
        return state_of(record) == value
    if name == "exited":
        return record.state == EXITED and str(record.code) == value
    if name == "ancestor":
        return value in (record.image, record.image.rpartition(":")[0], record.image_id) or (
            len(value) >= 12 and record.image_id.startswith(value)
        )
    key, equals, wanted = value.partition("=")
    labels = record.facts["labels"]
    return key in labels and (not equals or labels[key] == wanted)
