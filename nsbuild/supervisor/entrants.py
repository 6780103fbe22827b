"""Entrants: processes that come into the container while it runs, as `nsbuild exec NAME` asks.

A listener serves those who descend from the process that installed its filter, and init is under
none. So init forks an entrant, which installs the same filter once more, and its listener is one
more source of calls here: the same supervisor answers them, from the same tables. No entrant has a
parent inside. The command being "1", entrants are called "2", "3" and so on as they come in; the
random stream of each is a child of the command's of which no fork of the command has the ordinal.
The clock of the first begins where the command's began, that of each other where those are that
have ended before, since who lets one in may have waited for the other; from there on it moves up to
whatever it sees, as every clock does.

A client speaks over a socket of its own, in messages:

    client  ENTER  with a memfd that holds the command, one for its Handover, standard files
            SIGNAL and the number of one; SETTLE alone
    we      STARTED  with the terminal's master, if one was asked for
            LEFT and the wait status, or ERROR as in initlink

Performance contract: nothing here is asked while nobody comes in.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

from nsbuild.determinism.clock import Clock
from nsbuild.determinism.entropy import Stream
from nsbuild.determinism.names import entrant_name, preferred_pid
from nsbuild.errors import NsbuildError
from nsbuild.kernel.process import pidfd_getfd

from .births import Births
from .filetimes import FileTimes
from .initlink import LIMIT, Event, InitLink, encode_error
from .listener import Call, Listener
from .outside import Identity, inherited_from
from .parley import ENTER, LEFT, SETTLE, SIGNAL, STARTED
from .processes import Process, ProcessTable

_GIVEN = 5
"""Descriptors of an ENTER."""

ENTRANTS = 1 << 62
"""Ordinals from here on belong to the random streams of entrants."""


class Offer(Protocol):
    """How an entrant hands over its listener: see container.handover."""

    @property
    def offered(self) -> int:
        """The descriptor, -1 before that."""

    @property
    def failure(self) -> int:
        """errno of the failed installation, or 0."""

    def taken(self) -> None:
        """Let the offering process go on."""


class Entrant:
    """One of them: `pidfd` is -1 until it is about to install its filter."""

    def __init__(self, client: socket.socket, given: list[int], offer: Offer) -> None:
        self.client = client
        self.given = given
        self.offer = offer
        self.process: Process | None = None
        self.pidfd = -1

    def say(self, message: bytes, fds: tuple[int, ...] = ()) -> None:
        """Tell the client, if it is still there."""
        try:
            socket.send_fds(self.client, [message], fds, socket.MSG_DONTWAIT)
        except OSError:
            return

    def let_go(self) -> None:
        """Close what was given."""
        for fd in self.given:
            os.close(fd)
        self.given = []


class House(Protocol):
    """What the supervisor has for entrants."""

    listener: Listener
    table: ProcessTable
    births: Births
    outside: set[Identity]
    times: FileTimes

    def add_source(self, fd: int, handle: Callable[[], None]) -> None:
        """Call `handle` whenever `fd` is readable."""

    def drop_source(self, fd: int) -> None:
        """Never again."""

    def listen(self, listener: Listener) -> None:
        """Take calls from `listener` as well."""

    def take(self, call: Call) -> None:
        """Answer a call that was received."""

    def look_outside_anew(self) -> None:
        """`outside` has changed."""

    def first_process(self) -> Process:
        """A process as the command was when it began."""


class Entrants:
    """Lets them in, one after another. `offer` makes an Offer of a memfd; None lets nobody in."""

    def __init__(
        self,
        house: House,
        link: InitLink,
        front: socket.socket,
        offer: Callable[[int], Offer] | None,
    ) -> None:
        self._house = house
        self._link = link
        self._front = front
        self._offer = offer
        self.waiting: deque[Entrant] = deque()
        self._by_client: dict[socket.socket, Entrant] = {}
        self._by_vpid: dict[int, Entrant] = {}
        self._count = 0
        self._past: Clock | None = None
        """How far those have come that have ended."""

    def connect(self, fd: int) -> None:
        """A client: the front has accepted it, and it is about to say what it wants."""
        client = socket.socket(fileno=fd)
        self._house.add_source(fd, lambda: self._message(client))

    def _message(self, client: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(client, LIMIT, _GIVEN)
        except ConnectionResetError:
            data, fds = b"", []
        entrant = self._by_client.get(client)
        if data[:1] == ENTER and len(fds) == _GIVEN and entrant is None and self._offer:
            entrant = Entrant(client, fds, self._offer(fds[1]))
            self._by_client[client] = entrant
            self.waiting.append(entrant)
            return
        for fd in fds:
            os.close(fd)
        if data[:1] == SETTLE:
            self._house.times.stamp()
            client.send(SETTLE, socket.MSG_DONTWAIT)
        elif data[:1] == SIGNAL and entrant is not None and entrant.process is not None:
            self._link.signal_to(entrant.process.vpid, int(data[1:]))
        elif not data:
            # It has gone, and what it has started goes on.
            self._house.drop_source(client.fileno())
            self._by_client.pop(client, None)
            client.close()

    def go_on(self) -> None:
        """Do what can be done now for the one whose turn it is."""
        entrant = self.waiting[0]
        try:
            if entrant.process is None:
                if self._house.births.quiet():
                    self._fork(entrant)
            elif entrant.offer.offered >= 0 and entrant.pidfd >= 0:
                self._serve(entrant)
            elif entrant.offer.failure:
                raise NsbuildError(
                    f"cannot install the seccomp filter: {os.strerror(entrant.offer.failure)}"
                )
        except NsbuildError as error:
            self.waiting.popleft()
            entrant.let_go()
            entrant.say(encode_error(error))

    def _fork(self, entrant: Entrant) -> None:
        name = entrant_name(self._count)
        vpid, master = self._link.enter(preferred_pid(name), entrant.given)
        if not vpid:
            return
        first = self._house.first_process()
        if self._past is not None:
            first.clock.merge(self._past)
        seed = first.stream.child(ENTRANTS + self._count).seed
        self._count += 1
        entrant.process = Process(name, vpid, first.clock, Stream(seed))
        entrant.process.orphan = True
        self._by_vpid[vpid] = entrant
        self._house.outside |= inherited_from(tuple(entrant.given[2:]))
        self._house.look_outside_anew()
        entrant.let_go()
        entrant.say(STARTED, (master,) if master >= 0 else ())
        if master >= 0:
            os.close(master)

    def _serve(self, entrant: Entrant) -> None:
        """It has its filter: take the listener over, and let it go on."""
        assert entrant.process is not None
        fd = pidfd_getfd(entrant.pidfd, entrant.offer.offered)
        os.close(entrant.pidfd)
        self.waiting.popleft()
        # As for the first one: should we be killed, calls wait until the container is dead.
        socket.send_fds(self._front, [b"L"], [fd])
        main = self._house.listener
        listener = Listener(fd)
        listener.open_inside, listener.guest_priority = main.open_inside, main.guest_priority
        listener.let_on = main.let_on
        main.others.append(listener)
        self._house.listen(listener)
        self._house.add_source(fd, lambda: self._called(listener))
        self._house.table.enter(entrant.process)
        entrant.offer.taken()

    def _called(self, listener: Listener) -> None:
        if not listener.ready():
            # Nobody under that filter is left.
            self._house.drop_source(listener.fd)
            self._house.listener.others.remove(listener)
            os.close(listener.fd)
            return
        call = listener.receive()
        if call is not None:
            self._house.take(call)

    def began(self, event: Event) -> None:
        """An entrant is about to install its filter; the event carries its number outside."""
        self.waiting[0].pidfd = os.pidfd_open(event.pid)

    def left(self, event: Event) -> None:
        """An entrant has ended."""
        vpid, status = map(int, event.data[1:].split())
        entrant = self._by_vpid.pop(vpid)
        if entrant in self.waiting:
            self.waiting.remove(entrant)
        process = entrant.process
        if process is not None and process.pid:
            # What it has reaped counts, whichever of the two tells first that it has ended.
            self._house.table.reaped(process)
            if self._past is not None:
                process.clock.merge(self._past)
            self._past = process.clock
        elif process is not None:
            self._house.table.remove(process)
        entrant.say(LEFT + b"%d" % status)
