"""A mirror on loopback that asks the real one for each file once, and asks again where that fails.

The network is an input of whatever runs with --network=host. A mirror that drops one connection of
hundreds makes the program try again: it reads its clock more often, and what is written after that
has other times. A test that compares two bootstraps must give both the same network.
"""

from __future__ import annotations

import atexit
import http.client
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.request
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_ATTEMPTS = 6
_TIMEOUT = 60
"""Seconds for one attempt."""
_KEPT = ("Last-Modified", "Content-Type")


class NearMirror:
    """Files of the address `upstream`, at `address` for as long as this process lives."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.rstrip("/")
        self._place = Path(tempfile.mkdtemp(prefix="nsbuild-tests-mirror-"))
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._known: dict[str, tuple[int, dict[str, str]]] = {}
        mirror = self

        class Handler(_Handler):
            near = mirror

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        atexit.register(self.close)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Serve no more, and remove all that was kept."""
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._place, ignore_errors=True)

    def find(self, path: str) -> tuple[int, dict[str, str], Path]:
        """The status, the headers and the file for one path of the mirror."""
        file = self._place / sha256(path.encode()).hexdigest()
        with self._lock:
            busy = self._busy.setdefault(path, threading.Lock())
        with busy:
            if path not in self._known:
                self._known[path] = self._fetch(path, file)
        return (*self._known[path], file)

    def _fetch(self, path: str, file: Path) -> tuple[int, dict[str, str]]:
        for attempt in range(_ATTEMPTS):
            time.sleep(attempt)
            try:
                with (
                    urllib.request.urlopen(self._upstream + path, timeout=_TIMEOUT) as answer,
                    open(file, "wb") as out,
                ):
                    shutil.copyfileobj(answer, out)
                    whole = answer.headers.get("Content-Length", str(out.tell()))
                    if int(whole) == out.tell():
                        return answer.status, {
                            name: answer.headers[name] for name in _KEPT if name in answer.headers
                        }
            except urllib.error.HTTPError as error:
                with error:
                    if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                        file.write_bytes(b"")
                        return error.code, {}
            except (OSError, http.client.HTTPException):
                pass
        file.write_bytes(b"")
        return HTTPStatus.BAD_GATEWAY, {}


class _Handler(BaseHTTPRequestHandler):
    near: NearMirror
    # Kept alive, as apt asks for the next file before it has the first.
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer for one file."""
        status, headers, file = self.near.find(self.path)
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        if self.command == "GET":
            with open(file, "rb") as source:
                shutil.copyfileobj(source, self.wfile)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
