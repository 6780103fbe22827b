"""What all endpoints need: the service's state, and the parts of a request in types."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from aiohttp import web

from nsbuild.container.records import Record, Records
from nsbuild.errors import NsbuildError
from nsbuild.images.store import Store
from nsbuild.service.errors import ApiError
from nsbuild.service.verbs import Verbs
from nsbuild.tuples import NamedTuple

_TRUE = frozenset({"1", "t", "true"})


class Service(NamedTuple):
    """`place` is the state directory, `network` what clients get who leave that to us."""

    place: str
    network: str
    verbs: Verbs

    @contextlib.contextmanager
    def records(self) -> Iterator[Records]:
        """The records, as long as they are needed: a verb must not wait for us."""
        records = Records(self.place)
        try:
            yield records
        finally:
            records.close()

    def store(self) -> Store:
        """The images."""
        return Store(self.place)


SERVICE: web.AppKey[Service] = web.AppKey("service", Service)


def service_of(request: web.Request) -> Service:
    """Whose request it is."""
    return request.app[SERVICE]


def is_podman(request: web.Request) -> bool:
    """Whether it is of Podman's own API, below /libpod, and not of Docker's."""
    return "libpod" in request.match_info


def find_container(request: web.Request) -> Record:
    """The container that the path names; raises ApiError."""
    name = request.match_info["name"]
    with service_of(request).records() as records:
        try:
            return records.find(name)
        except NsbuildError as error:
            ambiguous = "more than one" in str(error)
            raise ApiError(500 if ambiguous else 404, _words(request, name, error)) from error


def _words(request: web.Request, name: str, error: NsbuildError) -> str:
    return str(error) if is_podman(request) else f"No such container: {name}"


def flag(request: web.Request, name: str, missing: bool = False) -> bool:
    """A truth value of the query."""
    text = request.query.get(name)
    return missing if text is None else text.lower() in _TRUE


def number(request: web.Request, name: str) -> float | None:
    """A number of the query."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ApiError(400, f"{name}: not a number: {text}") from None


async def body_of(request: web.Request) -> object:
    """The JSON in the body."""
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None


def filters_of(request: web.Request) -> list[str]:
    """The `filters` of the query, as NAME=VALUE."""
    try:
        table = json.loads(request.query.get("filters") or "{}")
        return [f"{name}={value}" for name, values in table.items() for value in _listed(values)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise ApiError(400, "filters: not an object of lists") from None


def _listed(values: object) -> list[str]:
    """Lists, and as Docker used to have it, objects of which the values say nothing."""
    if isinstance(values, str):
        return [values]
    if not isinstance(values, list | dict):
        raise TypeError
    return [str(value) for value in values]


def break_off(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Close the connection amid an answer: it is too late for a status, and not to be believed."""
    if request.transport is not None:
        request.transport.close()
    return response
