"""Links of /proc whose text has a number that the kernel counts: pipe:[81273], uts:[4026531838].

The number is that of the inode to which the link leads, so what is shown is what stat shows there.
A file that is ours in the place of one of /proc (see procself) has that one's path. All other links
are the kernel's to read, and so are those of another process for whoever has not all rights.

realpath(3) of the C library reads each part of a path as a link, and a compiler calls it for each
header: 185,000 times in the build of GNU hello, where 59 other calls read one. So the profile lets
through what asks for as many bytes as realpath does.
"""

from __future__ import annotations

import re

from nsbuild.kernel.files import AT_FDCWD, AT_SYMLINK_NOFOLLOW, statx
from nsbuild.kernel.x86_64 import NR
from nsbuild.supervisor.answers import Handler, signed32
from nsbuild.supervisor.filetimes import STAND_IN, FileTimes, link_text, path_of
from nsbuild.supervisor.listener import Call
from nsbuild.supervisor.places import PLAIN, Places
from nsbuild.supervisor.processes import Process

_LINK = re.compile(rb"(?s:.*)/([0-9]+)/(?:task/[0-9]+/)?(?:fd/[0-9]+|ns/[a-z_]+)")
_COUNTED = re.compile(rb"([a-z_]+):\[[0-9]+\]")


class Links:
    """Answers for readlink."""

    def __init__(self, places: Places, times: FileTimes) -> None:
        self._places = places
        self._times = times

    def handlers(self) -> dict[int, Handler]:
        """See nsbuild.supervisor.answers."""
        return {NR["readlink"]: self.readlink, NR["readlinkat"]: self.readlinkat}

    def readlink(self, call: Call, process: Process) -> None:
        """readlink(2)."""
        self._read(call, process, AT_FDCWD, *call.args[:3])

    def readlinkat(self, call: Call, process: Process) -> None:
        """readlinkat(2)."""
        self._read(call, process, signed32(call.args[0]), *call.args[1:4])

    def _read(
        self, call: Call, process: Process, dirfd: int, address: int, buffer: int, size: int
    ) -> None:
        path = process.memory.read_path(call, address)
        room = signed32(size)
        text = b""
        if not isinstance(path, int) and path and room > 0:
            text = self._text(call, process, dirfd, path)[:room]
        if not text:
            call.resume()
        elif process.memory.write(call, buffer, text) == len(text):
            call.answer(len(text))
        else:
            # Whatever the kernel says of such a buffer.
            call.resume()

    def _text(self, call: Call, process: Process, dirfd: int, path: bytes) -> bytes:
        """What is shown of the link at `path`; b"" if that is the kernel's to say."""
        found: list[bytes] = []

        def read(ours: bytes, how: int) -> int:
            there = statx(AT_FDCWD, ours, how)
            if isinstance(there, int):
                return there
            link = _LINK.fullmatch(path_of(ours, how))
            if link and (process.place is PLAIN or int(link[1]) == process.vpid):
                found.append(link_text(ours, how))
            return 0

        def look(ours: bytes, how: int) -> int:
            return self._times.look(process, call.tid, ours, how)

        try:
            if self._places.at(call, process, dirfd, path, AT_SYMLINK_NOFOLLOW, read) or not found:
                return b""
            text = found[0]
            stands_for = STAND_IN.fullmatch(text)
            if stands_for:
                return stands_for[1]
            counted = _COUNTED.fullmatch(text)
            if not counted or self._places.at(call, process, dirfd, path, 0, look):
                return b""
        except OSError:
            return b""
        times = self._times
        number = times.number if times.file is None else times.file.number
        return b"%b:[%d]" % (counted[1], number)
