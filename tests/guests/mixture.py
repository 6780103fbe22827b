"""mixture: twenty processes that wait for each other and for time in every way there is.

Each says what it has seen, with its clock, into a pipe of its own; the first prints all of it in
the order of the processes. Nothing races: what is said does not depend on who runs first.
"""

import fcntl
import os
import select
import signal
import socket
import threading
import time

WORKERS = 20


def stamp() -> str:
    return f"{time.time():.3f} {time.monotonic():.3f} {os.getpid()} {os.urandom(4).hex()}"


def sleeper(number: int) -> list[str]:
    said = []
    for turn in range(4):
        time.sleep(0.1 * (number % 7 + turn))
        said.append(f"slept {turn} {stamp()}")
    return said


def poller(number: int) -> list[str]:
    reader, writer = os.pipe()
    if os.fork() == 0:
        time.sleep(0.35)
        os.write(writer, b"x" * number)
        os._exit(0)
    misses = 0
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while not poll.poll(100):
        misses += 1
    os.wait()
    return [f"missed {misses}, got {len(os.read(reader, 100))} {stamp()}"]


def alarmed(number: int) -> list[str]:
    said = []
    signal.signal(signal.SIGALRM, lambda *_: said.append(f"alarm {stamp()}"))
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.3)
    while len(said) < 4:
        signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return said


def networker(number: int) -> list[str]:
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()
    if os.fork() == 0:
        time.sleep(0.05 * number)
        with socket.create_connection(address) as peer:
            peer.sendall(b"hello %d" % number)
        os._exit(0)
    server.settimeout(0.04)
    late = 0
    while True:
        try:
            peer, _ = server.accept()
            break
        except TimeoutError:
            late += 1
    text = peer.recv(100).decode()
    os.wait()
    return [f"{text} after {late} {stamp()}"]


def locker(number: int) -> list[str]:
    name = f"lock-{number}"
    with open(name, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        child = os.fork()
        if child == 0:
            with open(name) as other:
                fcntl.flock(other, fcntl.LOCK_EX)
            os._exit(0)
        time.sleep(0.25)
        fcntl.flock(file, fcntl.LOCK_UN)
        os.waitpid(child, 0)
    return [f"lock {stamp()}"]


def threaded(number: int) -> list[str]:
    said = []
    condition = threading.Condition()
    done = []

    def work(index: int) -> None:
        time.sleep(0.1 * (index + 1))
        with condition:
            done.append(index)
            condition.notify_all()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    with condition:
        while len(done) < 3:
            condition.wait(0.04)
    for thread in threads:
        thread.join()
    said.append(f"threads {sorted(done)}")
    return said


KINDS = (sleeper, poller, alarmed, networker, locker, threaded)


def main() -> None:
    readers: list[int] = []
    for number in range(WORKERS):
        reader, writer = os.pipe()
        if os.fork() == 0:
            for other in readers:
                os.close(other)
            os.close(reader)
            kind = KINDS[number % len(KINDS)]
            lines = [f"{number} {kind.__name__}: {line}" for line in kind(number)]
            os.write(writer, "\n".join(lines).encode())
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    for reader in readers:
        with open(reader) as file:
            print(file.read())
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    print(f"end {stamp()}")


main()
