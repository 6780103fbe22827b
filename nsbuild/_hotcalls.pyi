"""What libfaketime_ext defines in C; nsbuild.supervisor.hotcalls says what it is for."""

from collections.abc import Callable

from nsbuild.determinism.entropy import Stream
from nsbuild.determinism.files import File, Key
from nsbuild.supervisor.devices import Mount
from nsbuild.supervisor.places import Place
from nsbuild.supervisor.processes import Process
from nsbuild.supervisor.turns import Turn, Turns

def serve_numbers(
    requests: int, wake: int, last_pid: int, first: int, limit: int, /
) -> bytes | None: ...
def draw(seed: bytes, position: int, size: int, /) -> bytes: ...
def statx(directory: int, path: bytes, flags: int, /) -> tuple[int, ...] | int: ...
def renew(
    listener: int,
    call_id: int,
    tid: int,
    offset: int,
    code: bytes,
    mark: int,
    random: bytes,
    /,
) -> tuple[int, int, int] | None: ...

class Files:
    def __init__(
        self,
        file_type: type[File],
        by_key: dict[Key, File],
        mounts: dict[int, Mount],
        nowhere: Mount,
        nameless: set[int],
        meet: Callable[[Key, int, Mount, bytes], File],
        meet_nameless: Callable[[Key, int, Process], File],
        start: int,
        epoch: int,
        settle: Callable[[int], bool],
        dirty: dict[File, bytes],
        expect: Callable[[Process, int, int, bytes, int], None],
        carries: bool,
        /,
    ) -> None: ...
    def entry(self, process: Process, path: bytes, /) -> tuple[int, int] | None: ...

class Memo:
    def __init__(self, kernel: bytes, shown: bytes, ahead: int, /) -> None: ...

class Hot:
    paused: bool
    pending: bool
    @property
    def declined(self) -> int: ...
    @property
    def cleared(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def answered(self) -> int: ...
    def __init__(
        self,
        listener: int,
        epoll: int,
        call_size: int,
        answer_size: int,
        names: tuple[bytes, ...],
        quick_exit: bool,
        files: Files,
        process_type: type[Process],
        stream_type: type[Stream],
        turns: Turns | None,
        plain: Place,
        merge: Callable[[Process], None],
        sysinfo: bytes,
        /,
    ) -> None: ...
    def wait(self, timeout: int, /) -> tuple[list[tuple[int, int]], tuple[int, ...] | None]: ...
    def rests(self, turn: Turn | None, /) -> bool: ...
    def receive(self) -> tuple[int, ...] | None: ...
    def know(self, tid: int, process: Process, wall: int, memory: int, /) -> None: ...
    def send(self, call_id: int, value: int, error: int, flags: int, /) -> bool: ...
    def retry(self, call_id: int, /) -> bool: ...
    def forget(self, tid: int, /) -> None: ...
