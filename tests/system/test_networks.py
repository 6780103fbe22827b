"""Networks of containers: they reach one another and nobody else, and leave nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.system.capabilities import needs
from tests.system.containerbox import IMAGE, ContainerBox
from tests.system.harness import Runner, burn_pids, load

HELLO = "while :; do busybox nc -l -p 80 -e echo hello from $0; done"
"""A server that says its name to everybody."""
ASK = "busybox nc -w 5 {} 80 < /dev/null 2>&1; echo $?"


@pytest.fixture
def rootful(root: Runner) -> Iterator[ContainerBox]:
    """A store of root's with the image; afterwards no container is there."""
    found = ContainerBox(root)
    yield found
    found.clear()


def namespaces() -> set[str]:
    """The network namespaces that somebody is in."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
    return found


def interfaces() -> set[str]:
    """The machine's own network interfaces."""
    return {name for _, name in socket.if_nameindex()}


def serve(box: ContainerBox, name: str, network: str = "private") -> str:
    """A server that says `hello from NAME`, once it listens; its id."""
    words = ("-d", "--name", name, f"--network={network}", IMAGE, "sh", "-c", HELLO, name)
    identity = box.ok("run", *words).text.strip()
    listens(box, name)
    return identity


def listens(box: ContainerBox, name: str) -> None:
    """Wait until the container has a socket that listens at port 80."""
    tables = ("cat", "/proc/net/tcp", "/proc/net/tcp6")
    wanted = re.compile(":0050 0+:0000 0A")
    box.until(lambda: wanted.search(box.ok("exec", name, *tables).text))


def ask(box: ContainerBox, host: str, *options: str) -> str:
    """What a new container is told by `host`, and the exit code of its nc."""
    words = options or ("--network=private",)
    return box.ok("run", "--rm", *words, IMAGE, "sh", "-c", ASK.format(host)).text


def hosts(box: ContainerBox, name: str) -> dict[str, str]:
    """Name to address, of the containers in /etc/hosts of a container that runs."""
    lines = box.ok("exec", name, "cat", "/etc/hosts").lines
    rows = (line.split() for line in lines if line.startswith("10."))
    return {row[1]: row[0] for row in rows}


def test_they_talk_by_name_and_by_address(rootful: ContainerBox) -> None:
    box = rootful
    serve(box, "one")
    serve(box, "two")
    assert ask(box, "one") == "hello from one\n0\n"
    assert ask(box, "two") == "hello from two\n0\n"
    assert ask(box, "10.88.0.3") == "hello from two\n0\n"
    said = box.ok("exec", "one", "sh", "-c", ASK.format("two")).text
    assert said == "hello from two\n0\n"


def test_one_that_came_later_is_known_to_those_before(rootful: ContainerBox) -> None:
    box = rootful
    serve(box, "one")
    assert hosts(box, "one") == {"one": "10.88.0.2"}
    box.ok("create", "--name", "two", "--network=private", IMAGE, "true")
    serve(box, "three")
    all_three = {"one": "10.88.0.2", "two": "10.88.0.3", "three": "10.88.0.4"}
    assert hosts(box, "one") == hosts(box, "three") == all_three
    box.ok("rm", "two")
    assert hosts(box, "one") == {"one": "10.88.0.2", "three": "10.88.0.4"}
    box.ok("rm", "-f", "one")
    box.ok("create", "--name", "four", "--network=private", IMAGE, "true")
    assert hosts(box, "three") == {"four": "10.88.0.2", "three": "10.88.0.4"}


def test_it_reaches_neither_the_host_nor_the_outside(rootful: ContainerBox) -> None:
    box = rootful
    with socket.create_server(("0.0.0.0", 0)) as listening:
        port = listening.getsockname()[1]
        serve(box, "one")
        own = box.ok("run", "--rm", "--network=private", IMAGE, "hostname").text.strip()
        for place in ("127.0.0.1", "10.88.0.1", "192.0.2.1", *addresses()):
            script = f"busybox nc -w 5 {place} {port} < /dev/null 2>&1; echo $?"
            said = box.run(script, ("--rm", "--network=private")).ok().lines
            assert said[-1] == "1", said
        listening.settimeout(0)
        with pytest.raises(BlockingIOError):
            listening.accept()
    routes = box.run("cat /proc/net/route", ("--rm", "--network=private")).ok().lines
    assert [line.split()[:2] for line in routes[1:]] == [["eth0", "0000580A"]]
    assert own == "nsbuild"


def addresses() -> list[str]:
    """Those that the machine itself is known by."""
    found = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), 80, socket.AF_INET)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, suppress(OSError):
        # Nothing is sent.
        any_socket.connect(("192.0.2.1", 9))
        found.add(any_socket.getsockname()[0])
    return sorted(map(str, found))


def test_networks_of_other_names_are_others(rootful: ContainerBox) -> None:
    box = rootful
    serve(box, "one", "private:left")
    serve(box, "two", "private:right")
    assert hosts(box, "one") == {"one": "10.88.0.2"}
    assert hosts(box, "two") == {"two": "10.88.0.2"}
    assert ask(box, "one", "--network=private:left") == "hello from one\n0\n"
    # The other network's has the same address there.
    assert ask(box, "10.88.0.2", "--network=private:right") == "hello from two\n0\n"
    assert ask(box, "one", "--network=private:right").endswith("\n1\n")


def test_nothing_is_left_of_one_that_is_killed(rootful: ContainerBox) -> None:
    """Whoever made the bridge: it stays for the others, and goes with the last."""
    box = rootful
    before = interfaces()
    first = serve(box, "one")
    serve(box, "two")
    pid = int(box.ok("inspect", "--format", "{{.State.Pid}}", first).text)
    os.kill(pid, signal.SIGKILL)
    box.until(lambda: box.state("one") == "exited")
    assert ask(box, "two") == "hello from two\n0\n"
    for _ in range(3):
        box.ok("start", "one")
        listens(box, "one")
        assert ask(box, "one") == "hello from one\n0\n"
        assert hosts(box, "two") == {"one": "10.88.0.2", "two": "10.88.0.3"}
        box.ok("kill", "-s", "KILL", "one")
        box.until(lambda: box.state("one") == "exited")
    pid = int(box.ok("inspect", "--format", "{{.State.Pid}}", "two").text)
    hub = os.readlink(f"/proc/{pid}/ns/net")
    assert hub in namespaces()
    assert hub != os.readlink("/proc/self/ns/net")
    os.kill(pid, signal.SIGKILL)
    box.until(lambda: hub not in namespaces())
    assert interfaces() == before


def test_an_ordinary_user_has_none(user: Runner) -> None:
    box = ContainerBox(user)
    for verb in ("run", "create"):
        failed = box(verb, "--network=private", IMAGE, "true")
        assert failed.code == 125
        assert failed.stdout == b""
        assert failed.stderr.startswith(b"Error: --network=private is for root: ")
        assert failed.stderr.count(b"\n") == 1
    assert box.left() == []


@pytest.mark.parametrize("network", ["container:one", "bridge", "private:", "private:a/b", "ns:/x"])
def test_others_are_refused(rootful: ContainerBox, network: str) -> None:
    failed = rootful("run", f"--network={network}", IMAGE, "true")
    assert failed.code == 125
    assert failed.stderr.startswith(f"Error: --network={network} is not supported: ".encode())
    assert failed.stderr.count(b"\n") == 1


def test_inspect_shows_it(rootful: ContainerBox) -> None:
    box = rootful
    box.ok("create", "--name", "one", "--network=private:mine", IMAGE, "true")

    def shown(field: str) -> str:
        return box.ok("inspect", "--format", f"{{{{{field}}}}}", "one").text.strip()

    assert shown(".HostConfig.NetworkMode") == "private:mine"
    assert box.ok("ps", "-a", "--format", "{{.Networks}}").text == "private:mine\n"
    assert shown(".NetworkSettings.IPAddress") == "10.88.0.2"
    assert shown(".NetworkSettings.MacAddress") == "02:42:0a:58:00:02"


SEES = """\
ls -li --full-time /etc/hosts; cat /etc/hosts /proc/net/dev /proc/net/route /proc/net/if_inet6
busybox ip link; busybox ip addr; cd /sys/class/net/eth0
for i in address iflink ifindex mtu operstate; do cat $i; done
busybox nc server 80 < /dev/null; cat /proc/net/dev; date; od -An -N8 -tx1 /dev/urandom
"""


def test_server_and_client_are_the_same_twice(rootful: ContainerBox) -> None:
    """What both see of the network, and of each other, does not depend on when."""
    needs("busybox ip", rootful.run("busybox ip link").code == 0)

    def once() -> tuple[bytes, ...]:
        box = rootful
        say = f"{HELLO.partition('do ')[2].partition(';')[0]}; date; {SEES.splitlines()[0]}"
        words = ("--name", "server", "--network=private", IMAGE, "sh", "-c", say, "server")
        box.ok("run", "-d", *words)
        listens(box, "server")
        more = ("--name", "client", "--network=private", IMAGE, "sh", "-c", SEES)
        client = box.ok("run", *more).stdout
        box.ok("wait", "server")
        server = box.ok("logs", "server").stdout
        box.ok("rm", "server", "client")
        return server, client

    first = once()
    assert b"hello from server\n" in first[1]
    burn_pids()
    with load():
        second = once()
    assert first == second
