"""The endpoints about images: listed, looked at, and pulled."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from nsbuild.cli import imageview
from nsbuild.cli.imagefilters import parse, passes
from nsbuild.errors import NsbuildError
from nsbuild.images.documents import OCI_MANIFEST, Image, decode
from nsbuild.service.errors import ApiError
from nsbuild.service.requests import filters_of, flag, is_podman, service_of
from nsbuild.service.verbs import Done
from nsbuild.service.views import docker_image, docker_image_entry, podman_image_entry

_AT_ONCE = 5.0
"""Seconds in which a pull that fails does so with a status; later it is said in the stream."""
_BEAT = 10.0
"""Seconds between two signs of life; clients wait for a minute."""


def known(request: web.Request, name: str) -> Image:
    """The image `name`; ApiError 404 where it is not here."""
    try:
        found = service_of(request).store().find(name)
    except NsbuildError as error:
        raise ApiError(409, str(error)) from error
    if found is None:
        # docker-py knows by these words that it is the image which is missing.
        raise ApiError(404, f"{name}: image not known: No such image: {name}")
    return found


async def inspect(request: web.Request) -> web.Response:
    """GET /images/NAME/json."""
    store = service_of(request).store()
    image = known(request, request.match_info["name"])
    media_type = decode(store.manifest(image), "the manifest").get("mediaType", OCI_MANIFEST)
    shown = imageview.inspected if is_podman(request) else docker_image
    return web.json_response(shown(image, media_type, store.trees(image)))


async def exists(request: web.Request) -> web.Response:
    """GET /libpod/images/NAME/exists."""
    known(request, request.match_info["name"])
    return web.Response(status=204)


async def listing(request: web.Request) -> web.Response:
    """GET /images/json."""
    store = service_of(request).store()
    everything = store.images()
    try:
        filters = parse(filters_of(request))
        found = [image for image in everything if passes(image, filters, everything)]
    except NsbuildError as error:
        raise ApiError(400, str(error)) from error
    shown = podman_image_entry if is_podman(request) else docker_image_entry
    return web.json_response([shown(image, len(store.users(image))) for image in found])


async def create(request: web.Request) -> web.StreamResponse:
    """POST /images/create: Docker's pull."""
    query = request.query
    name, tag = query.get("fromImage", ""), query.get("tag", "")
    if query.get("fromSrc") or not name:
        raise ApiError(501, "nsbuild makes images of tarballs by `nsbuild import` alone")
    if tag:
        name = f"{name}@{tag}" if tag.startswith("sha256:") else f"{name}:{tag}"
    platform = query.get("platform")
    return await _pull(request, name, [f"--platform={platform}"] if platform else [])


async def pull(request: web.Request) -> web.StreamResponse:
    """POST /libpod/images/pull."""
    query = {name.lower(): value for name, value in request.query.items()}
    name = query.get("reference", "")
    if not name or flag(request, "allTags"):
        raise ApiError(400, "reference: one image, by its name")
    policy = query.get("policy") or "always"
    if policy not in ("always", "missing", "newer", "never"):
        raise ApiError(400, f"policy: there is no {policy!r}")
    if policy in ("missing", "never"):
        found = service_of(request).store().find(name)
        if found or policy == "never":
            image = found or known(request, name)
            return web.json_response({"images": [image.id], "id": image.id})
    options = [f"--{key}={query[key]}" for key in ("os", "arch", "variant") if query.get(key)]
    if not flag(request, "tlsVerify", missing=True):
        options.append("--tls-verify=false")
    return await _pull(request, name, options)


async def _pull(request: web.Request, name: str, options: list[str]) -> web.StreamResponse:
    if request.headers.get("X-Registry-Auth", "") not in ("", "e30=", "e30"):
        raise ApiError(501, "nsbuild takes no credentials from clients; `skopeo login` keeps some")
    pulling = service_of(request).verbs.begin("pull", "--quiet", *options, "--", name)
    await asyncio.wait({pulling}, timeout=_AT_ONCE)
    if pulling.done() and pulling.result().code:
        complaint = pulling.result().complaint
        raise ApiError(404 if _is_missing(complaint) else 500, complaint)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while not pulling.done():
        await _say(response, {"status": f"Pulling {name}", "progressDetail": {}})
        await asyncio.wait({pulling}, timeout=_BEAT)
    await _say(response, _outcome(pulling.result()))
    return response


def _is_missing(complaint: str) -> bool:
    return any(words in complaint.lower() for words in ("manifest unknown", "not found", "denied"))


def _outcome(done: Done) -> dict[str, Any]:
    """The last line: Podman's clients look for the id in it, Docker's for an error."""
    if done.code:
        return {"error": done.complaint, "errorDetail": {"message": done.complaint}}
    ids = done.text.splitlines()
    return {"status": "Download complete", "progressDetail": {}, "images": ids, "id": ids[-1]}


async def _say(response: web.StreamResponse, line: dict[str, Any]) -> None:
    await response.write(json.dumps(line).encode() + b"\r\n")
