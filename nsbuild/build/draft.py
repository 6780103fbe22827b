"""An image in the making: its layers, what its config says, and how late it is.

`moment` is the image's own time, in seconds since 1970. The clock of a RUN begins there and the
next moment is where it ended, so that nothing in an image is younger than a later step's clock, and
a step that is taken from the cache leaves the clock where running it would have.
"""

from __future__ import annotations

import copy
import time
from typing import Any

from nsbuild.images.documents import EPOCH_LABEL, Image, Layer
from nsbuild.tuples import NamedTuple

SHELL = ("/bin/sh", "-c")


class Draft:
    """Begins as `base`, or empty as FROM scratch has it, at `moment`."""

    def __init__(self, base: Image | None, moment: int) -> None:
        self.layers: tuple[Layer, ...] = base.layers if base else ()
        self.moment = moment
        self.shell: tuple[str, ...] = SHELL
        self.arguments: dict[str, str] = {}
        document = copy.deepcopy(base.config) if base else {}
        self.config: dict[str, Any] = document.get("config") or {}
        self._history: list[dict[str, Any]] = document.get("history") or []
        self._author: str | None = document.get("author")
        self._has_own_command = False

    @property
    def environment(self) -> dict[str, str]:
        """ENV so far, the base's included."""
        return dict(text.partition("=")[::2] for text in self.config.get("Env") or [])

    @property
    def variables(self) -> dict[str, str]:
        """What `$NAME` means: ENV wins over ARG."""
        return {**self.arguments, **self.environment}

    @property
    def workdir(self) -> str:
        """Where relative paths begin."""
        return self.config.get("WorkingDir") or "/"

    @property
    def user(self) -> str | None:
        """Who commands run as; None for root."""
        return self.config.get("User") or None

    def set_environment(self, added: dict[str, str]) -> None:
        """ENV."""
        merged = {**self.environment, **added}
        self.config["Env"] = [f"{name}={value}" for name, value in merged.items()]

    def set_command(self, argv: list[str]) -> None:
        """CMD."""
        self.config["Cmd"] = argv
        self._has_own_command = True

    def set_entrypoint(self, argv: list[str]) -> None:
        """ENTRYPOINT, which makes nothing of a command that came with the base."""
        self.config["Entrypoint"] = argv
        if not self._has_own_command:
            self.config.pop("Cmd", None)

    def add_to(self, key: str, names: list[str]) -> None:
        """EXPOSE and VOLUME: sets of names, as the config has them."""
        self.config[key] = {**(self.config.get(key) or {}), **{name: {} for name in names}}

    def add_labels(self, labels: dict[str, str]) -> None:
        """LABEL."""
        self.config["Labels"] = {**(self.config.get("Labels") or {}), **labels}

    def set_author(self, text: str) -> None:
        """MAINTAINER."""
        self._author = text

    def add(self, what: str, layer: Layer | None) -> None:
        """Go on to the next step: `what` was done, and `layer` came of it."""
        entry: dict[str, Any] = {"created": self.created, "created_by": what}
        if layer is None:
            entry["empty_layer"] = True
        else:
            self.layers = (*self.layers, layer)
        self._history.append(entry)

    @property
    def created(self) -> str:
        """`moment` as RFC 3339 has it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.moment))

    def document(self) -> dict[str, Any]:
        """The image's config document (image-spec, config.md)."""
        labels = {**(self.config.get("Labels") or {}), EPOCH_LABEL: str(self.moment)}
        config = {key: value for key, value in self.config.items() if value not in (None, {}, [])}
        return {
            "architecture": "amd64",
            "os": "linux",
            "created": self.created,
            **({"author": self._author} if self._author else {}),
            "config": {**config, "Labels": labels},
            "history": self._history,
        }


class Outcome(NamedTuple):
    """What a step has made: its layer, and where the clock is after it."""

    layer: Layer
    moment: int
