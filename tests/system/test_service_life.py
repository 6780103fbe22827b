"""How `nsbuild system service` begins and ends, as root and as a user."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.system.containerbox import ContainerBox
from tests.system.harness import Runner
from tests.system.leftovers import none_marked
from tests.system.servicebox import SECONDS, ServiceBox, running, serving

# docker-py lets streams go without closing their sockets.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Those sockets are closed within the test."""
    yield
    gc.collect()


def test_its_death_is_nothing_to_the_containers(ns: Runner) -> None:
    box = ContainerBox(ns)
    first = ServiceBox(box)
    client = first.docker()
    container = running(client)
    client.close()
    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert first.socket.exists()
    with serving(box) as second:
        client = second.docker()
        found = client.containers.get(container.id)
        assert found.status == "running"
        found.remove(force=True)
        client.close()


def test_who_runs_a_container_has_no_database_open(ns: Runner) -> None:
    """SQLite's locks stay with the parent of a fork, and what the child writes may be lost."""
    box = ContainerBox(ns)
    identity = box.waiting()
    box.ok("kill", identity)
    box.ok("wait", identity)
    box.ok("start", identity)
    front = box.ok("inspect", "--format", "{{.State.Pid}}", identity).text.strip()
    files = [os.readlink(entry) for entry in Path(f"/proc/{front}/fd").iterdir()]
    assert files
    assert [name for name in files if "sqlite" in name] == []
    box.clear()


def test_it_ends_when_told(ns: Runner) -> None:
    box = ContainerBox(ns)
    service = ServiceBox(box)
    client = service.docker()
    container = running(client)

    def wait() -> None:
        with pytest.raises(requests.exceptions.RequestException):
            container.wait()

    # Two clients that would wait for ever.
    threads = [
        threading.Thread(target=wait),
        threading.Thread(target=lambda: list(container.logs(stream=True, follow=True))),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert service.end() == (0, "")
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    client.close()
    assert not service.socket.exists()
    assert box.state(container.id) == "running"
    box.clear()
    assert none_marked(service.mark)


def test_it_ends_when_nobody_asks(ns: Runner) -> None:
    box = ContainerBox(ns)
    service = ServiceBox(box, time="2")
    client = service.podman()
    for _ in range(4):
        assert client.ping()
        time.sleep(0.8)
    client.close()
    said, _ = service.process.communicate(timeout=SECONDS)
    assert (service.process.returncode, said) == (0, b"")
    assert not service.socket.exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["tcp:localhost:80"], "only at unix:///PATH"),
        (["--time=-1"], "invalid time -1"),
        (["unix:///" + "x" * 120], "longer than 107 bytes"),
        (["unix:///proc/nsbuild.sock"], "cannot listen at /proc/nsbuild.sock"),
        (["--network=bridge"], "invalid choice"),
    ],
)
def test_bad_options(ns: Runner, words: list[str], complaint: str) -> None:
    seen = ns.outside(ns.command("system", "service", *words))
    assert seen.code == 125
    assert complaint in seen.stderr.decode()
