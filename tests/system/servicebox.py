"""A running `nsbuild system service`, and clients of both kinds on it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import docker
import podman

from tests.system.containerbox import IMAGE, ContainerBox
from tests.system.leftovers import new_mark

SECONDS = 60
"""How long a client waits for an answer."""


WAIT_FOREVER = ["sh", "-c", "mkfifo /wait; echo ready; read x < /wait"]


class UnixConnection(HTTPConnection):
    """HTTP on a socket, for what the clients never send."""

    def __init__(self, path: str) -> None:
        super().__init__("service", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


class ServiceBox:
    """The service of one account, in the store of `box`; `options` are its own."""

    def __init__(self, box: ContainerBox, *options: str, time: str = "0") -> None:
        self.box = box
        self.socket = box.store.parent / f"{box.store.name}.sock"
        self.uri = f"unix://{self.socket}"
        self.mark = new_mark()
        self.process = subprocess.Popen(
            box.ns.command("system", "service", f"--time={time}", *options, self.uri),
            env=box.ns.environment() | box.environment() | self.mark,
            cwd=box.ns.directory(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        box.until(lambda: self._listens() or self.process.poll() is not None)

    def _listens(self) -> bool:
        """Whether it is there; the socket of one that was killed may be."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def docker(self) -> docker.DockerClient:
        """A new client that speaks Docker's API."""
        return docker.DockerClient(base_url=self.uri, timeout=SECONDS)

    def podman(self) -> podman.PodmanClient:
        """A new client that speaks Podman's."""
        return podman.PodmanClient(base_url=self.uri, timeout=SECONDS)

    @contextmanager
    def asked(self, method: str, path: str, body: str = "") -> Iterator[HTTPResponse]:
        """The answer to a request; "" sends no body."""
        connection = UnixConnection(str(self.socket))
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body or None, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, Any]:
        """Status and JSON of the answer, None where it is none."""
        with self.asked(method, path, body) as answer:
            content = answer.read()
            return answer.status, json.loads(content) if content else None

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal the service; its exit code and what it has said, which should be nothing."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, said.decode()


@contextmanager
def serving(box: ContainerBox, *options: str, time: str = "0") -> Iterator[ServiceBox]:
    """A service that has ended, in silence and without a socket, when the context has."""
    service = ServiceBox(box, *options, time=time)
    try:
        yield service
        code, said = service.end()
        assert (code, said) == (0, ""), f"exit code {code}: {said}"
        assert not Path(service.socket).exists()
    finally:
        service.process.kill()
        service.process.communicate()


def running(whale: docker.DockerClient) -> Any:  # noqa: ANN401 - docker-py has no types
    """A container that waits for ever, and has begun to."""
    container = whale.containers.run(IMAGE, WAIT_FOREVER, detach=True)
    follow = container.logs(stream=True, follow=True)
    assert next(follow) == b"ready\n"
    follow.close()
    return container
