"""What a sequence of steps on files does, in pure Python, and what may be seen of it after each.

The steps are those of tests/guests/filemachine.py. `Model` keeps the tree that they make and knows
which errno each call ends with; of times it knows no values, only whose they are: each act is an
`Event` with a vector clock, and each time that is shown is that of an input, one that was set, or
that of an event. In the end of two events of which one could know of the other, the later one must
have the later time.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from tests.system.filetree import DIR, FILE, LINK, Event, Fail, Node, Proc, walk

Step = list[Any]
Seen = Any
Check = Callable[[Seen], None]
_BLOCK = 4096


class Wrong(AssertionError):
    """What was seen is not what may be."""


def want(condition: object, *words: object) -> None:
    if not condition:
        raise Wrong(" ".join(map(str, words)))


class Model:
    """Walks through the steps with the lines that the guest printed for them.

    `base` is the tree that was there before. With `bare` the lines come from a run without
    nsbuild, where times and numbers mean nothing: then it is the model that is on trial.
    `overlaid` says that it all lies on an overlayfs.
    """

    def __init__(
        self, name: str, lines: dict[str, list[Any]], base: Node, bare: bool, overlaid: bool
    ) -> None:
        self.lines = {key: iter(value) for key, value in lines.items()}
        self.bare = bare
        self.overlaid = overlaid
        self.events: list[Event] = []
        self.numbers: dict[int, Node] = {}
        self.devices: set[int] = set()
        self.first = Proc(name, base)

    def run(self, steps: list[Step]) -> None:
        """Check all lines; raises Wrong."""
        self._run(self.first, steps)
        for name, left in self.lines.items():
            want(next(left, None) is None, name, "says more than its steps give")
        if not self.bare:
            self._check_order()

    def _check_order(self) -> None:
        known = [event for event in self.events if event.value is not None]
        for later in known:
            for earlier in known:
                if earlier is not later and earlier.before(later):
                    assert earlier.value is not None
                    assert later.value is not None
                    fine = later.value - earlier.value >= (0 if later.weak else 1)
                    want(fine, later, "is not later than", earlier)

    def _run(self, proc: Proc, steps: list[Step]) -> None:
        for step in steps:
            self._step(proc, step)
        self._wait(proc)

    def _step(self, proc: Proc, step: Step) -> None:
        name, *arguments = step
        act = getattr(self, "do_" + name)
        expected, check = None, None
        try:
            check = act(proc, *arguments)
        except Fail as failure:
            expected = errno.errorcode[failure.number]
        who, what, seen = next(self.lines.get(proc.name, iter(())), (proc.name, None, None))
        try:
            want((who, what) == (proc.name, name), "no such line:", who, what)
            if expected or isinstance(seen, str):
                want(seen == expected, "is", seen, "and should be", expected)
            elif callable(check):
                check(seen)
            else:
                want(seen is None, "gives", seen)
        except Wrong as wrong:
            raise Wrong(f"{proc.name}: {step}: {wrong}") from None

    def _event(self, proc: Proc, weak: bool = False) -> Event:
        event = proc.event(weak)
        self.events.append(event)
        return event

    # Contents.

    def _open(
        self, proc: Proc, path: str, create: bool, exclusive: bool = False
    ) -> tuple[Node, Event]:
        parent, name, node = walk(proc.cwd, path, not exclusive)
        if node is not None:
            if exclusive:
                raise Fail(errno.EEXIST)
            if node.kind == DIR:
                raise Fail(errno.EISDIR)
            event = node.written = self._event(proc)
            return node, event
        if not create or parent.dead:
            raise Fail(errno.ENOENT)
        event = self._event(proc)
        return self._new(Node(FILE, 0o644), parent, name, event), event

    def _new(self, node: Node, parent: Node, name: str, event: Event) -> Node:
        if parent.dead:
            raise Fail(errno.ENOENT)
        node.birth = node.written = node.mtime = event
        parent.enter(name, node, event)
        return node

    def do_write(self, proc: Proc, path: str, mode: str, size: int) -> None:
        node, event = self._open(proc, path, mode != "r+", mode == "x")
        if mode == "w" and node.birth is not event:
            node.resize(0)
        if size:
            node.resize(node.size + size if mode == "a" else max(node.size, size))

    def do_open(self, proc: Proc, path: str) -> None:
        self._open(proc, path, False)

    def do_keep(self, proc: Proc, slot: int, path: str) -> None:
        proc.slots.pop(slot, None)
        proc.slots[slot] = self._open(proc, path, True)[0]

    def do_drop(self, proc: Proc, slot: int) -> None:
        proc.slots.pop(slot, None)

    def do_fdwrite(self, proc: Proc, slot: int, size: int) -> None:
        node = proc.kept(slot)
        node.resize(node.size + size)

    def do_ftruncate(self, proc: Proc, slot: int, size: int) -> None:
        self._truncate(proc, proc.kept(slot), size)

    def do_truncate(self, proc: Proc, path: str, size: int) -> None:
        node = self._find(proc, path, True)
        if node.kind == DIR:
            raise Fail(errno.EISDIR)
        self._truncate(proc, node, size)

    def _truncate(self, proc: Proc, node: Node, size: int) -> None:
        node.written = self._event(proc)
        node.sparse = node.sparse or size > node.size
        node.resize(size)

    def do_copy(self, proc: Proc, old: str, new: str, by_kernel: bool) -> None:
        source = self._find(proc, old, True)
        target, event = self._open(proc, new, True)
        if target.birth is not event:
            target.resize(0)
        if source.kind == DIR:
            raise Fail(errno.EISDIR)
        if source.size:
            target.resize(source.size)
        target.sparse = by_kernel and source.sparse

    def do_read(self, proc: Proc, path: str) -> Check:
        node = self._find(proc, path, True)
        if node.kind == DIR:
            raise Fail(errno.EISDIR)
        size = node.size

        return lambda seen: want(seen == size, "reads", seen, "bytes of", size)

    def do_tmpfile(self, proc: Proc, directory: str, path: str, size: int) -> None:
        if self._find(proc, directory, True).kind != DIR:
            raise Fail(errno.ENOTDIR)
        node = Node(FILE, 0o644, size)
        # nsbuild hears of it when it gets its name.
        node.birth = node.written = node.mtime = self._event(proc, weak=True)
        parent, name, there = walk(proc.cwd, path, False)
        if there is not None:
            raise Fail(errno.EEXIST)
        if parent.dead:
            raise Fail(errno.ENOENT)
        event = self._event(proc)
        node.change(event)
        parent.enter(name, node, event)

    # Names.

    def do_rename(self, proc: Proc, old: str, new: str, exchange: bool = False) -> None:
        one, one_name, node = walk(proc.cwd, old, False)
        if node is not None:
            node.maybe = True
        two, two_name, there = walk(proc.cwd, new, False)
        if there is not None:
            there.maybe = True
        if node is None or (exchange and there is None):
            raise Fail(errno.ENOENT)
        if node.holds(two):
            raise Fail(errno.EINVAL)
        if there is not None and there.holds(one):
            raise Fail(errno.EINVAL if exchange else errno.ENOTEMPTY)
        if there is node:
            if node.twofold and (one, one_name) != (two, two_name):
                raise Fail(errno.ESTALE)
            return
        if two.dead:
            raise Fail(errno.ENOENT)
        if there is not None and not exchange:
            if (node.kind == DIR) != (there.kind == DIR):
                raise Fail(errno.ENOTDIR if node.kind == DIR else errno.EISDIR)
            if there.entries:
                raise Fail(errno.ENOTEMPTY)
        event = self._event(proc)
        one.leave(one_name, event)
        if there is not None:
            two.leave(two_name, event)
            if exchange:
                one.enter(one_name, there, event)
                there.change(event)
            else:
                there.lose_name(event)
        two.enter(two_name, node, event)
        node.change(event)

    def do_exchange(self, proc: Proc, old: str, new: str) -> None:
        self.do_rename(proc, old, new, exchange=True)

    def do_link(self, proc: Proc, old: str, new: str) -> None:
        node = self._find(proc, old, False)
        node.maybe = True
        parent, name, there = walk(proc.cwd, new, False)
        if there is not None:
            raise Fail(errno.EEXIST)
        if parent.dead:
            raise Fail(errno.ENOENT)
        if node.kind == DIR:
            raise Fail(errno.EPERM)
        event = self._event(proc)
        node.change(event)
        node.nlink += 1
        node.twofold = self.overlaid and isinstance(node.birth, int)
        parent.enter(name, node, event)

    def _vacant(self, proc: Proc, path: str) -> tuple[Node, str]:
        parent, name, there = walk(proc.cwd, path, False)
        if there is not None:
            raise Fail(errno.EEXIST)
        if parent.dead:
            raise Fail(errno.ENOENT)
        return parent, name

    def do_symlink(self, proc: Proc, target: str, path: str) -> None:
        parent, name = self._vacant(proc, path)
        node = Node(LINK, 0o777, len(target))
        node.target = target
        self._new(node, parent, name, self._event(proc))

    def do_mkdir(self, proc: Proc, path: str) -> None:
        parent, name = self._vacant(proc, path)
        self._new(Node(DIR, 0o755), parent, name, self._event(proc))

    def do_unlink(self, proc: Proc, path: str) -> None:
        parent, name, node = walk(proc.cwd, path, False)
        if node is None:
            raise Fail(errno.ENOENT)
        if node.kind == DIR:
            raise Fail(errno.EISDIR)
        event = self._event(proc)
        parent.leave(name, event)
        node.lose_name(event)

    def do_rmdir(self, proc: Proc, path: str) -> None:
        parent, name, node = walk(proc.cwd, path, False)
        if node is None:
            raise Fail(errno.ENOENT)
        node.maybe = True
        if node.kind != DIR:
            raise Fail(errno.ENOTDIR)
        if node.entries:
            raise Fail(errno.ENOTEMPTY)
        parent.leave(name, self._event(proc))
        node.dead = True

    def do_chdir(self, proc: Proc, path: str) -> None:
        node = self._find(proc, path, True)
        if node.kind != DIR:
            raise Fail(errno.ENOTDIR)
        proc.cwd = node

    # Inodes.

    def _find(self, proc: Proc, path: str, follow: bool) -> Node:
        node = walk(proc.cwd, path, follow)[2]
        if node is None:
            raise Fail(errno.ENOENT)
        return node

    def do_chmod(self, proc: Proc, path: str, mode: int) -> None:
        node = self._find(proc, path, True)
        node.mode = mode
        node.change(self._event(proc))

    def do_utime(self, proc: Proc, path: str, follow: bool, times: list[int | str] | None) -> None:
        if times != ["omit", "omit"]:
            self._set_times(proc, self._find(proc, path, follow), times)

    def do_futime(self, proc: Proc, slot: int, times: list[int | str] | None) -> None:
        node = proc.kept(slot)
        if times != ["omit", "omit"]:
            self._set_times(proc, node, times)

    def _set_times(self, proc: Proc, node: Node, times: list[int | str] | None) -> None:
        event = self._event(proc)
        node.change(event)
        atime, mtime = times or ("now", "now")
        if mtime == "now":
            node.mtime = node.written = event
        elif isinstance(mtime, int):
            node.mtime = mtime
        if atime == "now":
            node.atime = None if mtime == "now" else event
        elif isinstance(atime, int):
            node.atime = atime

    # Looks.

    def do_date(self, proc: Proc) -> Check:
        event = self._event(proc)

        def check(seen: Seen) -> None:
            event.value = int(seen)

        return check

    def do_stat(self, proc: Proc, path: str) -> Check:
        node = self._find(proc, path, True)
        return lambda seen: self._check(proc, node, seen)

    def do_lstat(self, proc: Proc, path: str) -> Check:
        node = self._find(proc, path, False)
        return lambda seen: self._check(proc, node, seen)

    do_statx = do_lstat

    def do_fstat(self, proc: Proc, slot: int) -> Check:
        node = proc.kept(slot)
        return lambda seen: self._check(proc, node, seen)

    do_fstatx = do_fstat

    def _check(self, proc: Proc, node: Node, seen: dict[str, int]) -> None:
        want(seen["mode"] == node.kind | node.mode, "mode", oct(seen["mode"]), oct(node.mode))
        directory = node.kind == DIR
        if not directory:
            want(seen["nlink"] == node.nlink, "nlink", seen["nlink"], node.nlink)
            want(seen["size"] == node.size, "size", seen["size"], node.size)
        if self.bare:
            return
        want((seen["uid"], seen["gid"]) == (0, 0), "owner", seen["uid"], seen["gid"])
        if directory:
            want((seen["nlink"], seen["size"], seen["blocks"]) == (1, _BLOCK, 8), "shape", seen)
        elif node.kind == LINK:
            want(seen["blocks"] == 0, "blocks", seen["blocks"])
        elif not node.sparse or node.size <= _BLOCK:
            want(seen["blocks"] == -(-node.size // _BLOCK) * 8, "blocks", seen["blocks"])
        want(seen["blksize"] == _BLOCK, "blksize", seen["blksize"])
        self.devices.add(seen["dev"])
        want(len(self.devices) == 1, "dev", self.devices)
        if node.twofold:
            return
        self._check_number(node, seen["ino"])
        node.check_times(seen, want)
        proc.see(node)

    def _check_number(self, node: Node, number: int) -> None:
        if node.twofold:
            return
        if node.number is None:
            node.number = number
        want(node.number == number, "ino", number, "was", node.number)
        want(self.numbers.setdefault(number, node) is node, "ino", number, "is another's")

    def do_list(self, proc: Proc, path: str) -> Check:
        node = self._find(proc, path, True)
        if node.kind != DIR:
            raise Fail(errno.ENOTDIR)
        if node.dead:
            raise Fail(errno.ENOENT)
        inside = dict(node.entries)

        def check(seen: Seen) -> None:
            names = [name for name, _, _ in seen]
            order = sorted(names, key=os.fsencode)
            want(order == sorted(inside), "holds", names, "and should", sorted(inside))
            want(self.bare or names == order, "is not sorted:", names)
            for name, number, kind in seen:
                want(kind == _KINDS[inside[name].kind], name, "is a", kind)
                if not self.bare:
                    self._check_number(inside[name], number)

        return check

    # Processes.

    def do_child(self, proc: Proc, steps: list[Step]) -> None:
        child = proc.fork()
        self._run(child, steps)
        proc.merge(child)

    def do_background(self, proc: Proc, directory: str, steps: list[Step]) -> None:
        proc.children += 1
        parent, name = self._vacant(proc, directory)
        place = self._new(Node(DIR, 0o755), parent, name, self._event(proc))
        proc.children -= 1
        child = proc.fork()
        child.cwd = place
        child.slots = {}
        self._run(child, steps)
        proc.background.append(child)

    def do_wait(self, proc: Proc) -> None:
        self._wait(proc)

    def _wait(self, proc: Proc) -> None:
        for child in proc.background:
            proc.merge(child)
        proc.background.clear()


_KINDS = {DIR: "d", FILE: "f", LINK: "l"}
