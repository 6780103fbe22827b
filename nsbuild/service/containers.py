"""The endpoints about containers that answer at once, or when a container has ended."""

from __future__ import annotations

from aiohttp import web

from nsbuild.cli.containers import FILTERS, matches
from nsbuild.cli.containerview import describe
from nsbuild.cli.ps import as_json, shown_state
from nsbuild.container.records import CREATED, RUNNING
from nsbuild.service import creation
from nsbuild.service.errors import ApiError
from nsbuild.service.images import known
from nsbuild.service.requests import (
    body_of,
    break_off,
    filters_of,
    find_container,
    flag,
    is_podman,
    number,
    service_of,
)
from nsbuild.service.views import docker_container, docker_entry
from nsbuild.service.watching import exit_code, until_removed

_ENDED = frozenset({"", "not-running", "stopped", "exited"})


async def create(request: web.Request) -> web.Response:
    """POST /containers/create."""
    service = service_of(request)
    body = await body_of(request)
    if is_podman(request):
        wanted = creation.from_podman(body, service.network)
    else:
        wanted = creation.from_docker(body, request.query.get("name", ""), service.network)
    # A client pulls by a request of its own.
    known(request, wanted.image)
    words = (*wanted.options, "--", wanted.image, *wanted.command)
    done = await service.verbs.run("create", *words)
    if done.code:
        taken = "already in use" in done.complaint
        raise ApiError(409 if taken else 400, done.complaint)
    return web.json_response({"Id": done.text, "Warnings": done.warnings}, status=201)


async def inspect(request: web.Request) -> web.Response:
    """GET /containers/NAME/json."""
    record = find_container(request)
    with service_of(request).records() as records:
        shown = describe if is_podman(request) else docker_container
        return web.json_response(shown(records, record))


async def exists(request: web.Request) -> web.Response:
    """GET /libpod/containers/NAME/exists."""
    find_container(request)
    return web.Response(status=204)


async def listing(request: web.Request) -> web.Response:
    """GET /containers/json."""
    filters = filters_of(request)
    for text in filters:
        name = text.partition("=")[0]
        if name not in FILTERS:
            raise ApiError(400, f"{name} is an invalid filter; there is: {', '.join(FILTERS)}")
    limit = int(number(request, "limit") or 0)
    everything = flag(request, "all") or limit > 0
    everything = everything or any(text.startswith(("status=", "exited=")) for text in filters)
    with service_of(request).records() as records:
        found = records.all()
    found = [one for one in found if everything or one.state == RUNNING]
    found = [one for one in found if matches(one, filters, shown_state)]
    if limit > 0:
        found = found[-limit:]
    shown = as_json if is_podman(request) else docker_entry
    return web.json_response([shown(one) for one in reversed(found)])


async def start(request: web.Request) -> web.Response:
    """POST /containers/NAME/start."""
    record = find_container(request)
    if record.state == RUNNING:
        return web.Response(status=304)
    done = await service_of(request).verbs.run("start", record.id)
    if done.code:
        # Docker's words for a command that is not there or cannot be run.
        raise ApiError(400 if done.code in (126, 127) else 500, done.complaint)
    return web.Response(status=204)


async def stop(request: web.Request) -> web.Response:
    """POST /containers/NAME/stop."""
    record = find_container(request)
    if record.state != RUNNING:
        return web.Response(status=304)
    seconds = number(request, "timeout" if is_podman(request) else "t")
    words = [] if seconds is None or seconds < 0 else [f"--time={seconds:g}"]
    await service_of(request).verbs.ok("stop", *words, record.id)
    return web.Response(status=204)


async def kill(request: web.Request) -> web.Response:
    """POST /containers/NAME/kill."""
    record = find_container(request)
    if record.state != RUNNING:
        raise ApiError(409, f"container {record.id} is not running")
    signal = request.query.get("signal") or "KILL"
    await service_of(request).verbs.ok("kill", f"--signal={signal}", record.id)
    return web.Response(status=204)


async def wait(request: web.Request) -> web.StreamResponse:
    """POST /containers/NAME/wait."""
    record = find_container(request)
    conditions = request.query.getall("condition", ["not-running"])
    removed = conditions == ["removed"]
    # One that has not run yet will not be removed by itself before it has.
    next_exit = conditions == ["next-exit"] or (removed and record.state == CREATED)
    if not (removed or next_exit or set(conditions) <= _ENDED):
        raise ApiError(400, f"condition: nsbuild cannot wait for {', '.join(conditions)}")
    place = service_of(request).place
    # It is an answer for a client to know that its request has come: it starts the container then.
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    code = await exit_code(place, record, next_exit)
    if removed:
        await until_removed(place, record)
    if code is None:
        return break_off(request, response)
    await response.write(str(code).encode() if is_podman(request) else b'{"StatusCode":%d}' % code)
    return response


async def remove(request: web.Request) -> web.Response:
    """DELETE /containers/NAME."""
    record = find_container(request)
    force = flag(request, "force")
    if record.state == RUNNING and not force:
        raise ApiError(409, f"cannot remove container {record.id}: it is running; stop it or force")
    await service_of(request).verbs.ok("rm", *["--force"] * force, record.id)
    if is_podman(request):
        return web.json_response([{"Id": record.id, "Err": None}])
    return web.Response(status=204)
