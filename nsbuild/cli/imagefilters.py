"""Which images a listing shows: by IMAGE, and by --filter KEY=VALUE or KEY!=VALUE."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from nsbuild.cli import human, imageview
from nsbuild.errors import NsbuildError
from nsbuild.images import reference
from nsbuild.images.documents import Image
from nsbuild.images.lookup import choose
from nsbuild.tuples import NamedTuple

_FILTER = re.compile(r"([a-z]+)(!?)=(.*)", re.DOTALL)
_Test = Callable[[Image, str, list[Image]], bool]


class Filter(NamedTuple):
    """What is asked for: `key`, one of FILTERS, whether it must not hold, and the value."""

    key: str
    negated: bool
    value: str


def parse(texts: list[str]) -> list[Filter]:
    """The filters that the texts are; raises NsbuildError."""
    found = []
    for text in texts:
        parts = _FILTER.fullmatch(text)
        if parts is None:
            raise NsbuildError(
                f'invalid image filter "{text}": must be in the format "filter=value or '
                'filter!=value"'
            )
        if parts[1] not in FILTERS:
            raise NsbuildError(f'unsupported image filter "{parts[1]}"')
        found.append(Filter(parts[1], bool(parts[2]), parts[3]))
    return found


def passes(image: Image, filters: list[Filter], everything: list[Image]) -> bool:
    """Whether an image fits: all that are negated, and of each other key one."""
    results: dict[tuple[str, bool], list[bool]] = {}
    for key, negated, value in filters:
        held = FILTERS[key](image, value, everything)
        results.setdefault((key, negated), []).append(held)
    return all(not any(held) if negated else any(held) for (_, negated), held in results.items())


def is_meant(image: Image, text: str) -> bool:
    """Whether IMAGE of a listing means an image; without a tag it means any tag."""
    if choose([image], text) is not None:
        return True
    try:
        wanted = reference.parse(text)
    except NsbuildError:
        return False
    if re.search(r":[^/]*$|@", text):
        return False
    repositories = {reference.repository_and_tag(name)[0] for name in image.names}
    return any(f"/{one}".endswith(f"/{wanted.repository}") for one in repositories)


def _label(image: Image, value: str, _: list[Image]) -> bool:
    key, equals, text = value.partition("=")
    found = imageview.labels(image)
    return key in found and (not equals or found[key] == text)


def _reference(image: Image, value: str, _: list[Image]) -> bool:
    return any(
        fnmatch.fnmatchcase(form, value)
        for name in image.names
        for form in (name, reference.repository_and_tag(name)[0], name.partition("/")[2])
    )


def _dangling(image: Image, value: str, _: list[Image]) -> bool:
    return (not image.names) == (value.lower() in ("true", "1"))


def _relative(sign: int) -> _Test:
    def compare(image: Image, value: str, everything: list[Image]) -> bool:
        other = choose(everything, value)
        if other is None:
            raise NsbuildError(f"could not find local image for filter: {value}: image not known")
        mine, its = (human.moment(imageview.created(one)).timestamp() for one in (image, other))
        return (mine - its) * sign > 0

    return compare


FILTERS: dict[str, _Test] = {
    "after": _relative(1),
    "since": _relative(1),
    "before": _relative(-1),
    "dangling": _dangling,
    "id": lambda image, value, _: image.id.startswith(value),
    "label": _label,
    "reference": _reference,
}
