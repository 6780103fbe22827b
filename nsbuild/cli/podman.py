"""What all verbs that Podman has too share: how they are told what to do, and how they complain.

Errors begin with `Error: `, as Podman's do. What Podman can do and nsbuild cannot is refused by its
name, with the exit code 125, rather than taken and forgotten.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from nsbuild.cli.formatter import Formatter
from nsbuild.errors import EXIT_OURS, NsbuildError, speak_as

PROGRAM = "nsbuild"

REFUSED = {
    "nsbuild opens no ports": ("-p --publish", "-P --publish-all"),
    "nsbuild has no pods": ("--pod --pod-id-file", ""),
    "nsbuild restarts nothing": ("--restart", ""),
    "nsbuild checks no health": (
        "--health-cmd --health-interval --health-retries --health-start-period --health-timeout "
        "--health-on-failure",
        "--no-healthcheck",
    ),
    "nsbuild runs no systemd": ("--systemd", ""),
    "builds that use a GPU do not repeat": ("--gpus", ""),
}
"""Reason -> options with a value and options without, of `run` and `create`."""


REFUSED_VERBS = {
    "nsbuild opens no ports": "port",
    "nsbuild has no pods": "pod play kube generate",
    "nsbuild has no volumes with names of their own": "volume",
    "nsbuild checks no health": "healthcheck",
    "nsbuild restarts nothing by itself; there are stop and start": "restart auto-update",
    "a container's clock does not stop": "pause unpause",
    "a network of containers is made by --network=private:NAME": "network",
    "nsbuild keeps no passwords; skopeo login does, and pull and push use them": "login logout",
    "the real use of processor and memory is not for a build to see": "stats",
    "nsbuild runs no virtual machine": "machine",
    "an image here is for one machine": "manifest",
}
"""Reason -> verbs of Podman's."""


def refuse_verb(verb: str) -> None:
    """NsbuildError for a verb that Podman has and nsbuild has not, for a reason."""
    for reason, verbs in REFUSED_VERBS.items():
        if verb in verbs.split():
            begin()
            raise NsbuildError(f"{verb} is not supported: {reason}")


class PodmanParser(argparse.ArgumentParser):
    """Reports usage errors in Podman's words, and has no -h, which is --hostname in places."""

    def __init__(self, verb: str, usage: str, description: str) -> None:
        super().__init__(
            prog=f"{PROGRAM} {verb}",
            usage=f"{PROGRAM} {verb} {usage}",
            description=description,
            epilog="See nsbuild-run(1).",
            formatter_class=Formatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.add_argument("--help", action="help", help="show this")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """See argparse; an option that it does not know comes before a word that is missing."""
        for word in args or ():
            if word == "--" or not word.startswith("-") or word == "-":
                break
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            if name not in self._option_string_actions:
                self.error(f"unrecognized arguments: {word}")
            if self._option_string_actions[name].nargs != 0:
                # What follows may be its value.
                break
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        if message.startswith("the following arguments are required: "):
            # argparse counts what follows options among them, which may be nothing.
            names = [name for name in message.partition(": ")[2].split(", ") if name != "COMMAND"]
            raise NsbuildError(f"requires at least {len(names)} arg(s): {' '.join(names)}")
        unknown = message.removeprefix("unrecognized arguments: ").split(" ")[0]
        if message.startswith("unrecognized arguments: -"):
            short = not unknown.startswith("--")
            message = (
                f"unknown shorthand flag: '{unknown[1]}' in {unknown}"
                if short
                else f"unknown flag: {unknown}"
            )
        raise NsbuildError(f"{message}\nSee '{self.prog} --help'")


class Refuse(argparse.Action):
    """An option that Podman has and nsbuild has not, for a reason."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        _values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        raise NsbuildError(f"{option_string} is not supported: {self.const}")


def add_refused(parser: argparse.ArgumentParser) -> None:
    """Know the options of REFUSED, so as to say why they are not there."""
    for reason, (valued, plain) in REFUSED.items():
        for names, nargs in ((valued, None), (plain, 0)):
            if names:
                parser.add_argument(
                    *names.split(),
                    action=Refuse,
                    const=reason,
                    nargs=nargs,
                    help=argparse.SUPPRESS,
                )


def each(names: Sequence[str], act: Callable[[str], None]) -> int:
    """Do `act` for each of `names`; what fails is said and the others are done all the same.

    Returns the exit code: 0, or that of the last failure.
    """
    from nsbuild.errors import report

    code = 0
    for name in names:
        try:
            act(name)
        except NsbuildError as error:
            report(str(error))
            code = error.code
    return code


def begin() -> None:
    """Speak as Podman does from here on."""
    speak_as("Error", quiet=False, every_line=False)


def need(condition: bool, message: str) -> None:
    """NsbuildError with `message` unless `condition`."""
    if not condition:
        raise NsbuildError(message, code=EXIT_OURS)
