"""The mirror of the tests, against one that breaks off, refuses and has not everything."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.acceptance.nearmirror import NearMirror

BODY = b"x" * 100_000


class _Bad(BaseHTTPRequestHandler):
    """It breaks off the first answer to each path and refuses the second."""

    seen: dict[str, int]

    def do_GET(self) -> None:
        count = self.seen[self.path] = self.seen.get(self.path, 0) + 1
        if self.path == "/missing":
            self.send_error(404)
        elif count == 2:
            self.send_error(503)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.send_header("Last-Modified", "Mon, 05 Jan 2015 10:00:00 GMT")
            self.end_headers()
            self.wfile.write(BODY[: len(BODY) // 2] if count == 1 else BODY)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def bad() -> Iterator[HTTPServer]:
    _Bad.seen = {}
    with HTTPServer(("127.0.0.1", 0), _Bad) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def mirror(bad: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[NearMirror]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    made = NearMirror(f"http://127.0.0.1:{bad.server_port}")
    yield made
    made.close()


def test_whoever_asks_sees_nothing_of_it(mirror: NearMirror) -> None:
    for _ in range(2):
        with urllib.request.urlopen(f"{mirror.address}/file") as answer:
            assert answer.read() == BODY
            assert answer.headers["Last-Modified"] == "Mon, 05 Jan 2015 10:00:00 GMT"
    assert _Bad.seen == {"/file": 3}


def test_what_is_not_there_is_asked_for_once(mirror: NearMirror) -> None:
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{mirror.address}/missing").close()
    assert _Bad.seen == {"/missing": 1}
