"""`nsbuild system service` with docker-py and podman-py as clients, as root and as a user."""

from __future__ import annotations

import gc
import io
import json
import re
import signal
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import podman
import podman.errors
import pytest

from tests.system.containerbox import IMAGE, ContainerBox
from tests.system.harness import Runner
from tests.system.servicebox import SECONDS, ServiceBox, running, serving

# docker-py lets streams go without closing their sockets.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def shared(ns: Runner) -> Iterator[ContainerBox]:
    """One store for all tests, which remove their containers."""
    box = ContainerBox(ns)
    yield box
    box.clear()


@pytest.fixture(scope="module")
def service(shared: ContainerBox) -> Iterator[ServiceBox]:
    """One service for all tests that do not end it."""
    with serving(shared) as found:
        yield found


@pytest.fixture
def clean(shared: ContainerBox) -> Iterator[None]:
    """No containers of a test that has failed for the next one, nor open sockets of clients."""
    yield
    gc.collect()
    if shared.left():
        shared.clear()


@pytest.fixture
def whale(service: ServiceBox, clean: None) -> Iterator[docker.DockerClient]:
    """A client that speaks Docker's API."""
    client = service.docker()
    yield client
    client.close()


@pytest.fixture
def seal(service: ServiceBox, clean: None) -> Iterator[podman.PodmanClient]:
    """A client that speaks Podman's."""
    client = service.podman()
    yield client
    client.close()


def read_all(stream: socket.socket) -> bytes:
    """What comes until the end, as frames with their heads."""
    stream.settimeout(SECONDS)
    found = b""
    while data := stream.recv(1 << 16):
        found += data
    return found


def framed(number: int, data: bytes) -> bytes:
    """A frame as Docker's API describes it."""
    return bytes([number, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


# The service itself


def test_it_says_what_it_is(
    service: ServiceBox, whale: docker.DockerClient, seal: podman.PodmanClient
) -> None:
    assert whale.ping() is True
    assert seal.ping() is True
    assert whale.api.api_version == whale.version()["ApiVersion"]
    assert seal.version()["Components"][0]["Name"] == "nsbuild"
    assert whale.info()["Images"] == seal.info()["store"]["imageStore"]["number"] == 1
    with service.asked("HEAD", "/_ping") as answer:
        assert (answer.status, answer.read()) == (200, b"")
        assert answer.headers["Server"].startswith("nsbuild/")
        assert answer.headers["Api-Version"] == whale.api.api_version


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v1.43/volumes", 404, "nsbuild has no endpoint GET /v1.43/volumes"),
        ("PUT", "/libpod/info", 405, "nsbuild has no endpoint PUT /libpod/info"),
        ("GET", "/v1.99/info", 400, "client version 1.99 is too new"),
        ("GET", "/containers/json?filters=7", 400, "filters: not an object of lists"),
        ("GET", '/containers/json?filters={"odd":["1"]}', 400, "odd is an invalid filter"),
        ("GET", '/images/json?filters={"odd":["1"]}', 400, 'unsupported image filter "odd"'),
        ("POST", "/containers/create", 400, "the body is not JSON"),
        ("POST", "/containers/nosuch/start", 404, "No such container: nosuch"),
        ("POST", "/libpod/containers/nosuch/wait", 404, 'no container with name or ID "nosuch"'),
        ("DELETE", "/containers/nosuch", 404, "No such container: nosuch"),
        ("GET", "/libpod/images/nosuch/exists", 404, "nosuch: image not known"),
        ("POST", "/images/create?fromSrc=-", 501, "nsbuild import"),
    ],
)
def test_errors_are_in_words(
    service: ServiceBox, method: str, path: str, status: int, words: str
) -> None:
    code, answer = service.ask(method, path)
    assert (code, answer["response"]) == (status, status)
    assert words in answer["message"]
    assert answer["cause"] == answer["message"]


def test_it_is_there_for_nobody_else(service: ServiceBox) -> None:
    assert service.socket.stat().st_mode & 0o777 == 0o600
    assert service.socket.stat().st_uid == service.box.ns.account.uid
    second = service.box("system", "service", service.uri)
    assert second.code == 125
    assert b"somebody else does" in second.stderr
    assert service.socket.exists()


# Images


def test_images(whale: docker.DockerClient, seal: podman.PodmanClient) -> None:
    image = whale.images.get("busybox")
    assert image.tags == [IMAGE]
    assert whale.images.get(image.id).attrs == image.attrs
    other = seal.images.get(IMAGE)
    assert image.id == f"sha256:{other.id}"
    assert seal.images.get(image.id).attrs == other.attrs
    assert [one.id for one in whale.images.list()] == [image.id]
    assert [one.id for one in seal.images.list()] == [other.id]
    assert whale.images.list(filters={"dangling": True}) == []
    assert (seal.images.exists(IMAGE), seal.images.exists("nosuch")) == (True, False)
    with pytest.raises(docker.errors.ImageNotFound):
        whale.images.get("nosuch")
    with pytest.raises(podman.errors.ImageNotFound):
        seal.images.get("nosuch")
    with pytest.raises(docker.errors.ImageNotFound):
        whale.containers.create("nosuch", ["true"])


def test_a_pull_that_fails(whale: docker.DockerClient, seal: podman.PodmanClient) -> None:
    with pytest.raises(docker.errors.APIError, match="connection refused"):
        whale.images.pull("127.0.0.1:1/nosuch:latest")
    with pytest.raises(podman.errors.APIError, match="connection refused"):
        seal.images.pull("127.0.0.1:1/nosuch:latest")
    assert seal.images.pull(IMAGE, policy="missing").tags == [IMAGE]


# Containers


def test_a_container_from_beginning_to_end(service: ServiceBox, whale: docker.DockerClient) -> None:
    script = "echo out; echo err >&2; exit 3"
    container = whale.containers.create(IMAGE, ["sh", "-c", script], name="one")
    assert (container.name, container.status) == ("one", "created")
    assert container.wait() == {"StatusCode": 0}
    attached = container.attach_socket(params={"stdout": 1, "stderr": 1, "stream": 1})
    container.start()
    assert read_all(attached._sock) == framed(1, b"out\n") + framed(2, b"err\n")
    attached.close()
    assert container.wait() == {"StatusCode": 3}
    container.reload()
    assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", 3)
    assert container.logs() == b"out\nerr\n"
    assert container.logs(stdout=False) == b"err\n"
    assert b"".join(container.logs(stream=True, follow=True)) == b"out\nerr\n"
    assert service.box("logs", "--follow", "one").stdout == b"out\n"
    assert container.logs(tail=0) == b""
    stamped = container.logs(tail=1, timestamps=True)
    assert re.fullmatch(rb"20\d\d-\d\d-\d\dT[\d:.]+\+00:00 err\n", stamped)
    assert container.attach(logs=True) == b"out\nerr\n"
    assert [one.name for one in whale.containers.list(all=True)] == ["one"]
    assert whale.containers.list() == []
    with pytest.raises(docker.errors.APIError, match="already in use") as caught:
        whale.containers.create(IMAGE, ["true"], name="one")
    assert caught.value.status_code == 409
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        whale.containers.get("one")


def test_the_same_by_podman(seal: podman.PodmanClient) -> None:
    script = "echo out; echo err >&2; exit 3"
    container = seal.containers.create(IMAGE, ["sh", "-c", script], name="two")
    assert (container.name, container.status) == ("two", "created")
    container.start()
    assert container.wait() == 3
    container.reload()
    assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", 3)
    assert list(container.logs()) == [b"out\n", b"err\n"]
    assert list(container.logs(stderr=False)) == [b"out\n"]
    assert [one.name for one in seal.containers.list(all=True)] == ["two"]
    assert seal.containers.list(all=True, filters={"name": "nosuch"}) == []
    assert seal.containers.exists("two")
    container.remove()
    assert not seal.containers.exists("two")


SHOWN = """
echo "$A"; pwd; id -un; hostname; cat /in/file; (echo x > /in/file) 2>/dev/null || echo read-only
echo x > /new && echo written; grep -c " /mnt " /proc/self/mounts
"""


def test_what_the_command_gets(
    service: ServiceBox, whale: docker.DockerClient, seal: podman.PodmanClient
) -> None:
    directory = service.box.ns.directory()
    (directory / "file").write_text("shared\n")
    (directory / "file").chmod(0o666)
    expected = b"b c\n/home\nroot\nother\nshared\nread-only\nwritten\n1\n"
    bind = {str(directory): {"bind": "/in", "mode": "ro"}}
    given: dict[str, Any] = {
        "environment": {"A": "b c"},
        "working_dir": "/home",
        "hostname": "other",
        "volumes": bind,
        "user": "root",
    }
    container = whale.containers.create(IMAGE, ["sh", "-c", SHOWN], tmpfs={"/mnt": ""}, **given)
    container.start()
    assert container.wait() == {"StatusCode": 0}
    assert container.logs() == expected
    container.remove()
    mounts = [{"type": "tmpfs", "target": "/mnt"}]
    container = seal.containers.create(IMAGE, ["sh", "-c", SHOWN], mounts=mounts, **given)
    container.start()
    assert container.wait() == 0
    assert b"".join(container.logs()) == expected
    container.remove()


def test_user_entrypoint_and_labels(whale: docker.DockerClient) -> None:
    container = whale.containers.create(
        IMAGE, ["-u"], entrypoint=["id"], user="1000:1000", labels={"a": "b"}, read_only=True
    )
    container.start()
    assert container.wait() == {"StatusCode": 0}
    assert container.logs() == b"1000\n"
    container.reload()
    assert container.labels == {"a": "b"}
    found = whale.containers.list(all=True, filters={"label": "a=b"})
    assert [one.id for one in found] == [container.id]
    container.remove()


def test_runs_repeat(service: ServiceBox, whale: docker.DockerClient) -> None:
    script = "date +%s.%N; head -c 8 /dev/urandom | od -An -tx1; echo $$"
    command = ["sh", "-c", script]
    first, second = (whale.containers.run(IMAGE, command, remove=True) for _ in range(2))
    assert first == second
    ns = service.box.ns
    assert ns.bare(*command).stdout != ns.bare(*command).stdout


def test_stdin(whale: docker.DockerClient) -> None:
    data = b"".join(b"%d\n" % number for number in range(50_000))
    container = whale.containers.create(IMAGE, ["md5sum"], stdin_open=True)
    params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    attached = container.attach_socket(params=params)
    container.start()
    attached._sock.sendall(data)
    attached._sock.shutdown(socket.SHUT_WR)
    plain = subprocess.run(["md5sum"], input=data, capture_output=True, check=True).stdout
    assert read_all(attached._sock) == framed(1, plain)
    attached.close()
    container.remove()


def test_stop_kill_and_force(whale: docker.DockerClient) -> None:
    container = running(whale)
    with pytest.raises(docker.errors.APIError) as caught:
        container.remove()
    assert caught.value.status_code == 409
    codes: list[int] = []
    waiting = threading.Thread(target=lambda: codes.append(container.wait()["StatusCode"]))
    waiting.start()
    time.sleep(0.5)
    assert codes == []
    container.stop(timeout=20)
    waiting.join(SECONDS)
    assert codes == [128 + signal.SIGTERM]
    container.stop()
    with pytest.raises(docker.errors.APIError, match="is not running") as caught:
        container.kill()
    assert caught.value.status_code == 409
    container.start()
    container.start()
    container.kill()
    assert container.wait() == {"StatusCode": 128 + signal.SIGKILL}
    container.start()
    container.remove(force=True)
    assert whale.containers.list(all=True) == []


def test_a_container_that_removes_itself(service: ServiceBox, whale: docker.DockerClient) -> None:
    command = ["sh", "-c", "read x; echo said; exit 5"]
    container = whale.containers.create(IMAGE, command, auto_remove=True, stdin_open=True)
    attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    # The head of the answer comes at once, and says that somebody waits from here on.
    with service.asked("POST", f"/containers/{container.id}/wait?condition=removed") as answer:
        container.start()
        attached._sock.sendall(b"go\n")
        assert read_all(attached._sock) == framed(1, b"said\n")
        assert json.loads(answer.read()) == {"StatusCode": 5}
    attached.close()
    assert whale.containers.list(all=True) == []


def test_a_command_that_is_not_there(whale: docker.DockerClient) -> None:
    container = whale.containers.create(IMAGE, ["nosuch"])
    with pytest.raises(docker.errors.APIError, match="cannot run nosuch"):
        container.start()
    container.reload()
    assert container.status == "created"
    container.remove()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"mem_limit": 1 << 30}, "HostConfig.Memory: nsbuild has nothing of the kind"),
        ({"network_mode": "container:x"}, "nsbuild has no network"),
        ({"volumes": ["name:/in"]}, "no named volumes"),
        ({"ports": {"80/tcp": 80}}, "PortBindings"),
        ({"name": "-x"}, "names must match"),
    ],
)
def test_what_nsbuild_has_not(
    whale: docker.DockerClient, option: dict[str, Any], words: str
) -> None:
    with pytest.raises(docker.errors.APIError, match=words) as caught:
        whale.containers.create(IMAGE, ["true"], **option)
    assert caught.value.status_code == 400
    assert whale.containers.list(all=True) == []


def test_archives(whale: docker.DockerClient) -> None:
    container = whale.containers.create(IMAGE, ["cat", "/home/new"])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("new")
        member.size, member.mode, member.uid = 4, 0o640, 0
        archive.addfile(member, io.BytesIO(b"new\n"))
    assert container.put_archive("/home", packed.getvalue())
    container.start()
    assert container.wait() == {"StatusCode": 0}
    assert container.logs() == b"new\n"
    chunks, about = container.get_archive("/home/new")
    assert (about["name"], about["size"], about["mode"]) == ("new", 4, 0o640)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        found = archive.extractfile("new")
        assert found is not None
        assert found.read() == b"new\n"
    assert container.get_archive("/home")[1]["mode"] & 1 << 31
    with pytest.raises(docker.errors.NotFound, match="could not be found"):
        container.get_archive("/nosuch")
    with pytest.raises(docker.errors.NotFound, match="must be a directory"):
        container.put_archive("/nosuch", packed.getvalue())
    with pytest.raises(docker.errors.APIError, match="no tar archive"):
        container.put_archive("/home", b"junk" * 1000)
    container.remove()


@pytest.mark.parametrize("client", ["docker", "podman"])
def test_what_qubes_builder_does(service: ServiceBox, client: str, tmp_path: Path) -> None:
    """The calls of v2's ContainerExecutor in their order, verbs included."""
    box = service.box
    source, empty, out = (box.ns.directory(name) for name in ("source-", "empty-", "out-"))
    (source / "hello").write_text("Hello!\n")
    (source / "hello").chmod(0o644)
    api = service.docker() if client == "docker" else service.podman()
    image = api.images.get(api.images.get(IMAGE).attrs["Id"])
    script = (
        'mkdir -p /builder/build && chown -R root:root /builder && echo "$A" >> /builder/t/hello'
    )
    container = api.containers.create(
        image,
        ["sh", "-c", f"{script}; exit 4"],
        privileged=True,
        environment={"A": "It works!"},
        mounts=[{"type": "bind", "source": "/dev/zero", "target": "/dev/zero"}],
        init=True,
    )
    for parent in ("/", "/builder", "/builder/t"):
        box.ok("cp", f"{empty}/.", f"{container.id}:{parent}")
    box.ok("cp", str(source / "hello"), f"{container.id}:/builder/t")
    assert box("cp", "/no/such/file", f"{container.id}:/tmp").code == 125
    assert box("start", "--attach", container.id).code == 4
    box.ok("cp", f"{container.id}:/builder/t/hello", str(out))
    assert (out / "hello").read_text() == "Hello!\nIt works!\n"
    assert box("cp", f"{container.id}:/no/such/file", str(out)).code == 125
    container.wait()
    container.remove()
    assert container.id not in [one.id for one in api.containers.list(all=True)]
    api.close()
