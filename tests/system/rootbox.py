"""Builds a container's root in namespaces of its own and asks from inside how it looks.

`Box.look` forks a process into new namespaces, lets it build the root as the init of its PID
namespace, and asks it a question; the answer comes back as JSON. No command is run, so a target
needs no files, and what is missing in it cannot be hidden by a shell.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nsbuild.container.rootfs import RootPlan, plan_root
from nsbuild.container.spec import RootSpec
from nsbuild.errors import NsbuildError
from nsbuild.kernel import namespaces
from nsbuild.kernel.libc import libc
from tests.system.account import remove
from tests.system.capabilities import needs

ONE_ID = 12345
PR_SET_DUMPABLE = 4
ALL = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWCGROUP
)

Look = Callable[[RootPlan], object]
Act = Callable[[RootPlan], None]


def build(plan: RootPlan) -> None:
    """Do the whole plan."""
    for operation in plan:
        operation.do()


def refused(number: int, act: Callable[[], object]) -> bool:
    """Whether `act` fails with the errno `number`."""
    return outcome(act) == errno.errorcode[number]


def outcome(act: Callable[[], object]) -> str:
    """The name of the errno with which `act` fails, or "" when it does not."""
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def points() -> list[list[str]]:
    """Mount point, options and file system of each mount."""
    fields = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [[line[4], line[5], line[line.index("-") + 1]] for line in fields]


class Box:
    """Builds roots as one user; `place` is a directory of that user's own."""

    def __init__(self, uid: int, place: Path) -> None:
        self.uid = uid
        self.place = place

    def target(self, *names: str) -> Path:
        """A target directory with the standard mount points and the directories `names`."""
        root = Path(tempfile.mkdtemp(dir=self.place))
        root.chmod(0o755)
        for name in ("proc", "sys", "dev", "tmp", "run", *names):
            (root / name).mkdir(parents=True)
        self.own(root)
        return root

    def own(self, *paths: Path) -> None:
        """Give `paths`, and what is below them, to the user."""
        for top in paths:
            for path in (top, *top.rglob("*")):
                os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def look(
        self, spec: RootSpec, look: Look, act: Act = build, before: Callable[[], None] | None = None
    ) -> object:
        """What `look` says inside; NsbuildError is raised here as it was there.

        `before` is run as root in a mount namespace around the container's.
        """
        answer_r, answer_w = os.pipe()
        ready_r, ready_w = os.pipe()
        go_r, go_w = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(answer_r)
            os.close(ready_r)
            os.close(go_w)
            self._child(spec, look, act, before, (answer_w, ready_w, go_r))
        for fd in (answer_w, ready_w, go_r):
            os.close(fd)
        if os.read(ready_r, 1):
            self._map(child)
            os.write(go_w, b"x")
        with open(answer_r, "rb") as file:
            answer = file.read()
        os.waitpid(child, 0)
        os.close(ready_r)
        os.close(go_w)
        return self._answer(answer)

    def _answer(self, raw: bytes) -> object:
        if not raw:
            return None
        kind, value = json.loads(raw)
        if kind == "refused":
            raise NsbuildError(*value)
        assert kind == "answer", value
        return value

    def _map(self, pid: int) -> None:
        ids = f"0 {self.uid} 1" if self.uid else "0 0 4294967295"
        if self.uid:
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/uid_map").write_text(ids)
        Path(f"/proc/{pid}/gid_map").write_text(ids)

    def _child(
        self,
        spec: RootSpec,
        look: Look,
        act: Act,
        before: Callable[[], None] | None,
        pipes: tuple[int, int, int],
    ) -> None:
        answer, ready, go = pipes
        try:
            if before:
                namespaces.unshare(namespaces.CLONE_NEWNS)
                before()
            if self.uid:
                os.setgroups([])
                os.setresgid(self.uid, self.uid, self.uid)
                os.setresuid(self.uid, self.uid, self.uid)
                # As after the execve that a user's own process has behind it.
                libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            namespaces.unshare(namespaces.CLONE_NEWUSER)
            os.write(ready, b"x")
            os.close(ready)
            os.read(go, 1)
            net = namespaces.CLONE_NEWNET if spec.network == "none" else 0
            namespaces.unshare(ALL | net)
            init = os.fork()
            if init == 0:
                os.write(answer, json.dumps(self._init(spec, look, act)).encode())
                os._exit(0)
            os.waitpid(init, 0)
        finally:
            os._exit(0)

    def _init(self, spec: RootSpec, look: Look, act: Act) -> tuple[str, object]:
        try:
            plan = plan_root(spec)
            act(plan)
            return "answer", look(plan)
        except NsbuildError as error:
            return "refused", (error.message, error.hint, error.code)
        except (OSError, AssertionError, ValueError):
            return "crashed", traceback.format_exc()


def host_mounts(place: Path) -> list[list[str]]:
    """The host's mounts where a root under construction could have left some."""
    watched = (str(place), "/run", "/tmp", "/mnt", "/srv")
    return [line for line in points() if line[0] in watched or line[0].startswith(str(place))]


@pytest.fixture(params=[0, ONE_ID], ids=["root", "one-id"])
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    needs("root", os.getuid() == 0)
    place = Path(tempfile.mkdtemp(prefix="nsbuild-rootfs-", dir="/var/tmp"))
    place.chmod(0o755)
    os.chown(place, request.param, request.param)
    mounts = host_mounts(place)
    try:
        yield Box(request.param, place)
        assert host_mounts(place) == mounts
    finally:
        remove(place)


def listing(top: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mode) for path in top.rglob("*"))


def as_list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
