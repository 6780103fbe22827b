"""The application: which endpoint a request is for, errors in words, and how long nobody has asked.

Every endpoint is there with and without a version in front. What Podman has of its own lies below
`/libpod`, and what it shares with Docker is there under both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from nsbuild.errors import NsbuildError
from nsbuild.service import archives, containers, images, streams, system
from nsbuild.service.errors import ApiError
from nsbuild.service.requests import SERVICE, Service, is_podman

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LARGEST = 16 << 20
"""Bytes of a body that is read at once: a request to create a container."""
_CONTAINER = "/containers/{name:[^/]+}"
_IMAGE = "/images/{name:.+}"

BOTH: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/_ping", system.ping),
    ("HEAD", "/_ping", system.ping),
    ("GET", "/version", system.version),
    ("GET", "/info", system.info),
    ("GET", "/images/json", images.listing),
    ("GET", f"{_IMAGE}/json", images.inspect),
    ("GET", "/containers/json", containers.listing),
    ("POST", "/containers/create", containers.create),
    ("GET", f"{_CONTAINER}/json", containers.inspect),
    ("POST", f"{_CONTAINER}/start", containers.start),
    ("POST", f"{_CONTAINER}/stop", containers.stop),
    ("POST", f"{_CONTAINER}/kill", containers.kill),
    ("POST", f"{_CONTAINER}/wait", containers.wait),
    ("POST", f"{_CONTAINER}/attach", streams.attach),
    ("GET", f"{_CONTAINER}/logs", streams.logs),
    ("GET", f"{_CONTAINER}/archive", archives.get),
    ("HEAD", f"{_CONTAINER}/archive", archives.get),
    ("PUT", f"{_CONTAINER}/archive", archives.put),
    ("DELETE", _CONTAINER, containers.remove),
)
DOCKERS: tuple[tuple[str, str, Handler], ...] = (("POST", "/images/create", images.create),)
PODMANS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/images/pull", images.pull),
    ("GET", f"{_IMAGE}/exists", images.exists),
    ("GET", f"{_CONTAINER}/exists", containers.exists),
)
_VERSION = r"/v{version:\d+(?:\.\d+)*}"
_PODMAN = "/{libpod:libpod}"


class Attention:
    """How many requests are being answered, and since when none has been."""

    def __init__(self) -> None:
        self._busy = 0
        self._since = time.monotonic()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._busy += 1
        try:
            return await handler(request)
        finally:
            self._busy -= 1
            self._since = time.monotonic()

    async def until_idle(self, seconds: float) -> None:
        """Wait until nobody has asked for anything for so long."""
        while True:
            left = seconds if self._busy else self._since + seconds - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)


@web.middleware
async def in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what fails as the clients read it."""
    try:
        _check_version(request)
        return await handler(request)
    except ConnectionError:
        # The client has gone away: nothing of ours to complain of, and nobody to answer.
        return web.Response()
    except ApiError as error:
        return _answer(error)
    except NsbuildError as error:
        return _answer(ApiError(500, str(error)))
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        words = f"nsbuild has no endpoint {request.method} {request.path}"
        return _answer(ApiError(error.status, f"{words}; see nsbuild-system-service(1)"))
    except web.HTTPException as error:
        return _answer(ApiError(error.status, error.reason))


def _answer(error: ApiError) -> web.Response:
    return web.json_response(error.document(), status=error.status)


def _check_version(request: web.Request) -> None:
    asked = request.match_info.get("version")
    if asked is None or is_podman(request):
        return
    ours = _parts(system.DOCKER)
    if _parts(asked) > ours:
        raise ApiError(
            400,
            f"client version {asked} is too new. Maximum supported API version is {system.DOCKER}",
        )


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in system.HEADERS.items():
        response.headers[name] = value


def make_app(service: Service, attention: Attention) -> web.Application:
    """The application that serves `service`."""
    app = web.Application(middlewares=[attention.middleware, in_words], client_max_size=_LARGEST)
    app[SERVICE] = service
    app.on_response_prepare.append(_sign)
    for prefix in ("", _VERSION):
        for method, path, handler in (*BOTH, *DOCKERS):
            app.router.add_route(method, prefix + path, handler)
        for method, path, handler in (*BOTH, *PODMANS):
            app.router.add_route(method, prefix + _PODMAN + path, handler)
    return app
