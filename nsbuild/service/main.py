"""nsbuild system: `nsbuild system service` serves Docker's and Podman's API on a socket.

Without a daemon of nsbuild's own there is nothing to start before it and nothing that needs it: it
comes when it is wanted and goes when nobody has asked for a while.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

from nsbuild.cli import podman
from nsbuild.errors import NsbuildError
from nsbuild.images.store import Store

_IDLE = 5.0
"""Seconds without a request after which it ends, as Podman's."""
_PATIENCE = 2.0
"""Seconds that requests have to be answered in when it is told to end."""
_LONGEST = 107
"""Bytes of a socket's path (unix(7))."""


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    podman.begin()
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help"):
        sys.stdout.write(
            "usage: nsbuild system VERB [ARGUMENT...]\n\nverbs:\n"
            "  service  serve the API of Docker and Podman on a socket\n"
        )
        return 0
    if verb != "service":
        raise NsbuildError(
            f"unrecognized command `nsbuild system {verb}`\nTry 'nsbuild system --help'"
        )
    return service(arguments[1:])


def make_parser() -> podman.PodmanParser:
    """The parser of `nsbuild system service`."""
    parser = podman.PodmanParser(
        "system service", "[OPTIONS] [URI]", "Serve the API of Docker and Podman on a socket."
    )
    add = parser.add_argument
    add(
        *("-t", "--time"),
        metavar="SECONDS",
        type=float,
        default=_IDLE,
        help="end after so long without a request; 0 for never (5)",
    )
    add(
        "--network",
        choices=("none", "host"),
        default="none",
        help="what containers have whose client does not choose (none)",
    )
    add("uri", metavar="URI", nargs="?", help="unix:///PATH")
    return parser


def service(arguments: list[str]) -> int:
    """Run `system service`; returns the exit code."""
    options = make_parser().parse_args(arguments)
    podman.need(options.time >= 0, f"invalid time {options.time:g}: it must be 0 or more")
    path = socket_path(options.uri)
    try:
        import aiohttp
    except ImportError as error:
        raise NsbuildError(
            "the service needs aiohttp, which is not installed", "pip install 'nsbuild[service]'"
        ) from error
    del aiohttp
    listening = listen(path)
    ours = os.lstat(path)
    try:
        if sys.version_info < (3, 12):
            # The default would have a thread wait for each verb.
            asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
        asyncio.run(_serve(listening, options))
    finally:
        _unlink(path, ours)
        listening.close()
    return 0


def socket_path(uri: str | None) -> str:
    """Where to listen: where `uri` says, else in the user's or root's runtime directory."""
    if uri is None:
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        if os.geteuid() == 0:
            runtime = "/run"
        podman.need(bool(runtime), "XDG_RUNTIME_DIR is not set: name a socket: unix:///PATH")
        path = os.path.join(str(runtime), "nsbuild", "nsbuild.sock")
    else:
        path = uri.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("//") else path
        podman.need(
            uri.startswith("unix:") and path.startswith("/"),
            f"cannot serve at {uri}: only at unix:///PATH, since whoever can ask can be root",
        )
    podman.need(len(os.fsencode(path)) <= _LONGEST, f"{path}: longer than {_LONGEST} bytes")
    return path


def listen(path: str) -> socket.socket:
    """A socket that listens at `path`, for nobody but us; raises NsbuildError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            listening.bind(path)
        finally:
            os.umask(before)
        listening.listen()
    except OSError as error:
        listening.close()
        raise NsbuildError.from_os(f"cannot listen at {path}", error) from error
    except NsbuildError:
        listening.close()
        raise
    return listening


def _remove_stale(path: str) -> None:
    """Remove a socket that a killed service has left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise NsbuildError(f"cannot listen at {path}: somebody else does")


def _unlink(path: str, ours: os.stat_result) -> None:
    """Remove our socket; not one that has come in its place."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.lstat(path), ours):
            os.unlink(path)


async def _serve(listening: socket.socket, options: argparse.Namespace) -> None:
    from aiohttp import web

    from nsbuild.service.app import Attention, make_app
    from nsbuild.service.requests import Service
    from nsbuild.service.verbs import Verbs

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    attention = Attention()
    verbs = Verbs()
    app = make_app(Service(Store.default().path, options.network, verbs), attention)
    # A client that goes away takes its request along, but no verb that has begun.
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=_PATIENCE
    )
    await runner.setup()
    await web.SockSite(runner, listening).start()
    ends: list[Coroutine[Any, Any, Any]] = [told.wait()]
    if options.time:
        ends.append(attention.until_idle(options.time))
    await _first(ends)
    await runner.cleanup()
    await verbs.close()


async def _first(ends: list[Coroutine[Any, Any, Any]]) -> None:
    """Wait for the first of them, and let the others be."""
    tasks = [asyncio.create_task(end) for end in ends]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
