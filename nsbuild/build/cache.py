"""What came of steps that were done before: key to layer, beside the images of the store.

A key is a hash of all that a step depends on: the layers below, the instruction, what it copies,
the environment, and the rules of the clock and the random streams. Since a step gives the same bits
every time, taking it from here changes nothing but how long it takes. The layers themselves belong
to images; one that is gone with its image is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from typing import Any

from nsbuild import __version__
from nsbuild.build.draft import Outcome
from nsbuild.errors import NsbuildError
from nsbuild.images.documents import DIGEST, Layer
from nsbuild.images.store import Store

_DIRECTORY = "build-cache"


class Cache:
    """The cache of a store; `use` says whether it is looked into, and not only written."""

    def __init__(self, store: Store, use: bool) -> None:
        self._store = store
        self._use = use
        self._path = os.path.join(store.path, _DIRECTORY)

    @staticmethod
    def key(facts: dict[str, Any]) -> str:
        """The key for what a step depends on, which must be JSON."""
        text = json.dumps([__version__, facts], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def find(self, key: str) -> Outcome | None:
        """What came of the step, if its layer is there still."""
        if not self._use:
            return None
        try:
            with open(os.path.join(self._path, key), encoding="utf-8") as file:
                found = json.load(file)
            outcome = Outcome(Layer(*found["layer"]), int(found["moment"]))
        except (OSError, ValueError, KeyError, TypeError):
            # Nothing, or what a crash of the machine has left of it: the step is done again.
            return None
        good = DIGEST.fullmatch(outcome.layer.digest) and DIGEST.fullmatch(outcome.layer.diff_id)
        return outcome if good and os.path.exists(self._store.blob(outcome.layer.digest)) else None

    def keep(self, key: str, outcome: Outcome) -> None:
        """Remember it; raises NsbuildError."""
        text = json.dumps({"layer": list(outcome.layer), "moment": outcome.moment})
        new = os.path.join(self._path, f".{secrets.token_hex(8)}")
        try:
            os.makedirs(self._path, 0o700, exist_ok=True)
            with open(new, "x", encoding="utf-8") as file:
                file.write(text)
            os.rename(new, os.path.join(self._path, key))
        except OSError as error:
            raise NsbuildError.from_os(f"cannot write to {self._path}", error) from error
