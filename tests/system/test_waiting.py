"""Timeouts fire when everything waits, in virtual time, and the same way every time.

Every run here is bounded by real time from outside (harness.TIMEOUT); most of what they wait for
would take longer than that on a real clock.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.system.capabilities import needs
from tests.system.harness import EPOCH, PATH, Runner, burn_pids, load
from tests.system.waiting import again, guests, told

MIXTURE = Path(__file__).resolve().parent.parent / "guests" / "mixture.py"
MIXTURES = int(os.environ.get("NSBUILD_MIXTURES", "4"))

TIMED_OUT = {
    "poll": 0,
    "ppoll": 0,
    "select": 0,
    "pselect": 0,
    "epoll_wait": 0,
    "epoll_pwait": 0,
    "epoll_pwait2": 0,
    "FUTEX_WAIT": 110,
    "FUTEX_WAIT_BITSET": 110,
    "FUTEX_CLOCK_REALTIME": 110,
    "futex_waitv": -110,
    "futex_waitv CLOCK_REALTIME": -110,
    "sem_timedwait": 110,
    "pthread_mutex_timedlock": 110,
    "pthread_mutex_timedlock PI": 110,
    "pthread_cond_timedwait": 110,
    "sigtimedwait": -11,
    "mq_timedreceive": 110,
    "mq_timedsend": 110,
    "semtimedop": 11,
    "io_getevents": 0,
    "io_pgetevents": 0,
    "FUTEX_WAIT_REQUEUE_PI": 110,
    "nanosleep": 0,
}
CAME = {
    **{name: 101 for name in TIMED_OUT if "poll" in name or "select" in name},
    **{name: 0 for name in TIMED_OUT if "poll" not in name and "select" not in name},
    "sigtimedwait": 10,
    "futex_waitv": 1,
    "futex_waitv CLOCK_REALTIME": 1,
    "io_getevents": 1,
    "io_pgetevents": 1,
}
del CAME["FUTEX_WAIT_REQUEUE_PI"]
INTERRUPTED = {
    **{name: -4 for name in TIMED_OUT if "poll" in name or "select" in name},
    **{name: 4 for name in TIMED_OUT if name.startswith(("FUTEX", "mq", "sem"))},
    **{name: 110 for name in TIMED_OUT if name.startswith("pthread")},
    "sigtimedwait": -4,
    "futex_waitv": -4,
    "futex_waitv CLOCK_REALTIME": -4,
    "semtimedop": 4,
    "io_getevents": -4,
    "io_pgetevents": -4,
    "FUTEX_WAIT_REQUEUE_PI": 110,
    "nanosleep": 41,
}
"""What the same guest prints on a bare kernel: EINTR is 4, EAGAIN 11, ETIMEDOUT 110."""


@pytest.mark.parametrize("guest", guests("waits"), indirect=True)
def test_every_timeout(ns: Runner, guest: str) -> None:
    """Each waits five seconds for what never comes."""
    outcome = again(ns, guest, "timeouts")
    assert told(outcome, " at ") == TIMED_OUT
    clocks = [float(line.split()[-1]) for line in outcome.lines]
    spent = [after - before for before, after in zip([0.0, *clocks], clocks, strict=False)]
    # And a millisecond for each look at the clock. musl looks at the wall clock to see how much is
    # left, and that takes a second of it.
    least = 4 if guest.endswith("musl") else 5
    assert all(least <= seconds < 5.02 for seconds in spent), spent


@pytest.mark.parametrize("guest", guests("waits"), indirect=True)
def test_what_comes_in_time(ns: Runner, guest: str) -> None:
    assert told(again(ns, guest, "events"), "\n") == CAME


@pytest.mark.parametrize("mode", ["signals", "restart"])
@pytest.mark.parametrize("guest", guests("waits"), indirect=True)
def test_an_alarm_interrupts_them(ns: Runner, guest: str, mode: str) -> None:
    expected = dict(INTERRUPTED)
    if mode == "restart":
        expected |= {"mq_timedreceive": 110, "mq_timedsend": 110}
        expected |= {"futex_waitv": -110, "futex_waitv CLOCK_REALTIME": -110}
    if guest.endswith("musl"):
        # musl tries again by itself.
        expected["sigtimedwait"] = -11
        expected["sem_timedwait"] = 110 if mode == "restart" else 4
    outcome = ns.exec(guest, mode).ok()
    assert told(outcome, " after ") == expected
    assert all(line.endswith("after 1 signal(s)") for line in outcome.lines)


@pytest.mark.parametrize(
    ("guest", "mode"), [("waits", "absent"), ("timers", "errors"), ("waitv", "")]
)
def test_what_the_kernel_refuses(ns: Runner, guest: str, mode: str) -> None:
    ns.twice(ns.guest(guest), mode, differs_bare=False)


@pytest.mark.parametrize("guest", guests("timers"), indirect=True)
def test_timers(ns: Runner, guest: str) -> None:
    lines = [line.split(" at ") for line in again(ns, guest, "values").ok().lines]
    said = [line[0] for line in lines]
    assert said[:7] == [
        "alarm 0",
        "alarm again 10",
        "alarm came 1",
        "none left 0",
        "itimer 4 times, every 2 s, next in 2.000000",
        "itimer had 1 s",
        "passed by reading 1",
    ]
    assert said[7:11] == [
        "timer in 4 s",
        "timer signal 10 code -2 value 42 overrun 0",
        "timer signal 10 code -2 value 42 overrun 0",
        "absolute timer, value 42",
    ]
    assert said[11:] == [
        "timer thread 7",
        "timerfd 8 bytes, 1 tick(s)",
        "timerfd 8 bytes, 1 tick(s)",
        "timerfd after a sleep: ready 1, 3 ticks",
        "timerfd every 2 s",
        "timerfd off: poll 0",
        "timerfd nonblocking: 11",
        "timerfd absolute: poll 1",
    ]
    # The thread has done its part before the sleeper awakes who is due at the same time, for only
    # one of the two fires before everything waits again.
    read = {line[0]: float(line[1].split()[1]) for line in lines}
    assert read["timer thread 7"] - read["absolute timer, value 42"] == pytest.approx(6.001)
    walls = [int(line[1].split(".")[0]) for line in lines]
    assert walls == sorted(walls)
    assert EPOCH + 200 < walls[-1] < EPOCH + 215


@pytest.mark.parametrize("guest", guests("timers"), indirect=True)
def test_a_timers_signals_that_wait_are_counted(ns: Runner, guest: str) -> None:
    """On a bare kernel too, if it is not late by two seconds."""
    lines = again(ns, guest, "overruns").ok().lines
    lines = [line for line in lines if not line.startswith("it says")]
    once = ["before it is taken: 0", "taken: 3", "none there: 11", "the next: 0 0", "set again: 0"]
    assert lines == 2 * once


def test_equal_deadlines_come_in_the_order_of_birth(ns: Runner) -> None:
    """On a bare kernel children 1, 3 and 6 end in any order."""
    lines = again(ns, ns.guest("timers"), "order").ok().lines
    assert [int(line.split()[1]) for line in lines[:-1]] == [5, 1, 3, 6, 0, 4, 2]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("a=$(date +%s); sleep 36000 & wait; b=$(date +%s); echo $((b - a))", ["36001"]),
        ("timeout 10 sleep 36000; echo $?", ["124"]),
        ("timeout 36000 sh -c 'sleep 10; echo over'; echo $?", ["over", "0"]),
        ("(sleep 2; echo b) & (sleep 1; echo a) & (sleep 3; echo c) & wait", ["a", "b", "c"]),
        ("trap 'echo woken' USR1; (sleep 5; kill -USR1 $$) & sleep 9 & wait; echo $?", None),
        ("mkfifo f; (sleep 20; echo x >f) & timeout 30 cat f", ["x"]),
        ("mkfifo f; (sleep 30; echo x >f) & timeout 20 cat f; echo $?", ["124"]),
    ],
)
def test_shells_wait_for_no_real_time(ns: Runner, script: str, expected: list[str] | None) -> None:
    outcome = again(ns, "bash", "-c", script)
    assert expected is None or outcome.ok().lines == expected


def test_a_stopped_process_lets_time_go_by(ns: Runner) -> None:
    script = "sh -c 'kill -STOP $$; echo on' & sleep 5; kill -CONT $!; wait; date +%s"
    assert again(ns, "dash", "-c", script).ok().lines == ["on", str(EPOCH + 5)]


_PYTHON = """
import asyncio, queue, select, signal, subprocess, threading, time
start = time.monotonic()

async def tick(name, seconds):
    await asyncio.sleep(seconds)
    print(name, end=" ")

async def ticks():
    await asyncio.gather(tick("c", 300), tick("a", 100), tick("b", 200))
    try:
        async with asyncio.timeout(50):
            await asyncio.sleep(1000)
    except TimeoutError:
        print("timed out")

asyncio.run(ticks())
box = queue.Queue()
threading.Timer(500, box.put, ["late"]).start()
try:
    box.get(timeout=400)
except queue.Empty:
    print("empty", box.get(timeout=400))
try:
    subprocess.run(["sleep", "200"], timeout=20)
except subprocess.TimeoutExpired:
    print("expired")
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.alarm(100)
print(select.select([], [], [], 250))
print(round(time.monotonic() - start, -1), int(time.time()))
"""


def test_python_waits(ns: Runner) -> None:
    lines = again(ns, "/usr/bin/python3", "-c", _PYTHON).ok().lines
    assert lines[:4] == ["a b c timed out", "empty late", "expired", "alarm"]
    assert lines[4] == "([], [], [])"
    # asyncio 350, the queue 500, subprocess 20, select 250, and a millisecond for each look.
    assert 1110 <= float(lines[5].split()[0]) <= 1140


_JAVA = """
import java.util.concurrent.*;

public class Waits {
    public static void main(String[] arguments) throws Exception {
        long start = System.nanoTime();
        ScheduledExecutorService pool = Executors.newScheduledThreadPool(3);
        ConcurrentLinkedQueue<String> said = new ConcurrentLinkedQueue<>();
        for (int seconds : new int[] {30, 10, 20})
            pool.schedule(() -> said.add("after " + seconds), seconds, TimeUnit.SECONDS);
        Thread.sleep(40_000);
        System.out.println(said);
        pool.shutdown();
        System.out.println(pool.awaitTermination(100, TimeUnit.SECONDS));
        Object lock = new Object();
        synchronized (lock) {
            lock.wait(5_000);
        }
        System.out.println(new SynchronousQueue<String>().poll(6, TimeUnit.SECONDS));
        System.out.println(System.nanoTime() - start > 51_000_000_000L);
    }
}
"""


def test_java_waits(root: Runner) -> None:
    needs("java (default-jdk-headless)", shutil.which("java", path=PATH) is not None)
    directory = root.directory()
    (directory / "Waits.java").write_text(_JAVA)
    seen = root.exec("java", "Waits.java", cwd=directory, timeout=120).ok()
    expected = ["[after 10, after 20, after 30]", "true", "null", "true"]
    assert seen.lines == expected


_GO = """
package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

func main() {
	var group sync.WaitGroup
	said := make(chan string, 3)
	for _, seconds := range []int{300, 100, 200} {
		group.Add(1)
		go func(seconds int) {
			defer group.Done()
			time.Sleep(time.Duration(seconds) * time.Second)
			said <- fmt.Sprint("after ", seconds)
		}(seconds)
	}
	group.Wait()
	fmt.Println(<-said, <-said, <-said)
	limit, stop := context.WithTimeout(context.Background(), time.Hour)
	defer stop()
	<-limit.Done()
	fmt.Println(limit.Err())
	ticker := time.NewTicker(time.Minute)
	for i := 0; i < 3; i++ {
		<-ticker.C
	}
	select {
	case <-time.After(time.Minute * 10):
		fmt.Println("over")
	}
}
"""


def test_go_waits(root: Runner) -> None:
    needs("go (golang-go)", shutil.which("go", path=PATH) is not None)
    directory = root.directory()
    (directory / "main.go").write_text(_GO)
    environment = root.environment() | {"GOCACHE": str(directory / "cache"), "GO111MODULE": "off"}
    build = ["go", "build", "-o", "waits", "main.go"]
    subprocess.run(build, cwd=directory, env=environment, check=True, timeout=300)
    seen = root.exec("./waits", cwd=directory).ok()
    assert seen.lines == ["after 100 after 200 after 300", "context deadline exceeded", "over"]


def test_input_from_outside_takes_its_time(ns: Runner) -> None:
    """Nobody inside can hurry a pipe's writer, so its reader's timeout is real then."""
    command = ns.command("exec", "--sched=other", "-i", "/", "bash", "-c")
    script = "read -t {} x; echo got $x $?"
    for seconds, expected in ((30, "got late 0"), (1, "got 142")):
        start = time.monotonic()
        feed = (
            f"(sleep 2.5; echo late) | timeout 60 {shlex.join(command)} '{script.format(seconds)}'"
        )
        seen = ns.outside(["bash", "-c", feed])
        assert seen.lines == [expected], seen
        assert time.monotonic() - start >= 1


def test_a_peer_on_the_network_takes_its_time(root: Runner) -> None:
    """It answers after a second, or after more than its client has patience for."""
    client = (
        "import socket, sys\n"
        "for patience in (20, 1):\n"
        "    peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "    peer.settimeout(patience)\n"
        "    try:\n"
        "        print(peer.recv(9).decode())\n"
        "    except TimeoutError:\n"
        "        print('none')\n"
    )

    def serve() -> None:
        for seconds in (1, 3):
            peer, _ = server.accept()
            with peer:
                time.sleep(seconds)
                peer.sendall(b"late")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        peer = threading.Thread(target=serve)
        peer.start()
        seen = root.exec("/usr/bin/python3", "-c", client, port, options=["--network=host"])
        peer.join()
    assert seen.ok().lines == ["late", "none"]


def test_who_computes_for_as_long_as_the_timeout(ns: Runner) -> None:
    """Else a watchdog would never end a program that spins."""
    script = "timeout 1 dash -c 'while :; do :; done'; echo $?"
    assert ns.exec("dash", "-c", script, options=["--spin-bound", "0.2"]).ok().lines == ["124"]


@pytest.mark.parametrize("guest", guests("giveway"))
def test_who_wakes_itself_lets_others_go_first(root: Runner, guest: str) -> None:
    """Under SCHED_FIFO it would keep the processor, here for longer than a test may take."""
    options = ["--sched=fifo", "--spin-bound", "1000"]
    outcome = root.exec(root.guest(guest), options=options)
    assert outcome.ok().lines == [f"{which} gave way" for which in range(7)]


def test_no_timeout_fires_while_anything_runs(ns: Runner) -> None:
    """A second of computing that makes calls is longer than a timeout of 10 ms, by a real clock."""
    work = "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done; echo worked"
    script = f"timeout 0.01 dash -c '{work}'; echo $?"
    assert again(ns, "dash", "-c", script).ok().lines == ["worked", "0"]


@pytest.mark.parametrize("sched", ["fifo", "other"])
def test_a_mixture_of_twenty_processes(root: Runner, sched: str) -> None:
    """Pipes, sleeps, timers, sockets, locks and threads: the same is said, and done.

    Under SCHED_FIFO in the same order by all of them, whatever else the machine does. A clone that
    the kernel restarts for a signal is seen twice; those lines do not count.
    """
    program = MIXTURE.read_text()
    seen, traces = set(), set()
    for round_ in range(MIXTURES):
        directory = root.directory()
        trace = directory / "trace"
        options = ["--sched", sched, "--trace", str(trace)]
        burn_pids()
        with load() if round_ % 2 else nullcontext():
            outcome = root.exec("/usr/bin/python3", "-c", program, options=options, cwd=directory)
        seen.add(outcome.ok().stdout)
        traces.add(without_restarts(trace.read_text()))
    assert len(seen) == 1
    if sched == "fifo":
        assert len(traces) == 1


def without_restarts(trace: str) -> str:
    """A trace without aborted calls and without births."""
    lines = trace.splitlines()
    return "\n".join(
        line
        for line in lines
        if not line.endswith("= gone") and "clone(" not in line and " birth of " not in line
    )
