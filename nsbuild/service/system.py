"""The endpoints about the service itself: whether it is there, and what it can do."""

from __future__ import annotations

import os

from aiohttp import web

from nsbuild import __version__
from nsbuild.container.records import EXITED, RUNNING
from nsbuild.service.requests import is_podman, service_of

DOCKER, OLDEST_DOCKER = "1.43", "1.24"
"""The versions of Docker's API in which clients may speak."""
PODMAN = "5.0.0"
"""That of Podman's, of which no client insists on any."""
HEADERS = {
    "Api-Version": DOCKER,
    "Libpod-API-Version": PODMAN,
    "Docker-Experimental": "false",
    "OSType": "linux",
    "Server": f"nsbuild/{__version__} (linux)",
}
"""In every answer."""


async def ping(request: web.Request) -> web.Response:
    """GET and HEAD /_ping."""
    headers = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
    return web.Response(text="OK", headers=headers)


async def version(request: web.Request) -> web.Response:
    """GET /version."""
    kernel = os.uname()
    about = {
        "Version": __version__,
        "Os": "linux",
        "Arch": "amd64",
        "KernelVersion": kernel.release,
        "GitCommit": "",
        "GoVersion": "",
        "BuildTime": "",
        "Experimental": False,
    }
    details = {"APIVersion": PODMAN, "Arch": "amd64", "Os": "linux", "MinAPIVersion": PODMAN}
    component = {"Name": "nsbuild", "Version": __version__, "Details": details}
    return web.json_response(
        {
            **about,
            "ApiVersion": PODMAN if is_podman(request) else DOCKER,
            "MinAPIVersion": PODMAN if is_podman(request) else OLDEST_DOCKER,
            "Platform": {"Name": f"linux/amd64/{kernel.version}"},
            "Components": [component],
        }
    )


async def info(request: web.Request) -> web.Response:
    """GET /info."""
    service = service_of(request)
    with service.records() as records:
        states = [one.state for one in records.all()]
    images = len(service.store().images())
    counts = {
        "number": len(states),
        "running": states.count(RUNNING),
        "stopped": states.count(EXITED),
        "paused": 0,
    }
    if is_podman(request):
        store = {
            "containerStore": counts,
            "graphDriverName": "overlay",
            "graphRoot": service.place,
            "imageStore": {"number": images},
        }
        host = {"arch": "amd64", "os": "linux", "kernel": os.uname().release}
        return web.json_response(
            {
                "host": host,
                "store": store,
                "version": {"Version": __version__, "APIVersion": PODMAN},
            }
        )
    return web.json_response(
        {
            "ID": "nsbuild",
            "Name": os.uname().nodename,
            "ServerVersion": __version__,
            "Containers": counts["number"],
            "ContainersRunning": counts["running"],
            "ContainersPaused": 0,
            "ContainersStopped": counts["stopped"],
            "Images": images,
            "Driver": "overlay",
            "DockerRootDir": service.place,
            "KernelVersion": os.uname().release,
            "OSType": "linux",
            "Architecture": "x86_64",
            "DefaultRuntime": "nsbuild",
        }
    )
