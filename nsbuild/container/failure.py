"""What is said of a command that could not be started, by the stage and errno of its Handover."""

from __future__ import annotations

import errno
import os

from nsbuild.container.handover import STAGE_IDS, STAGE_LIMITS, STAGE_WORKDIR
from nsbuild.container.spec import CommandSpec
from nsbuild.errors import EXIT_CANNOT_INVOKE, EXIT_NOT_FOUND, NsbuildError


def command_error(command: CommandSpec, stage: int, number: int) -> NsbuildError:
    """The error of a command whose start failed at `stage` with errno `number`."""
    if command.contract is not None:
        return command.contract.error(stage, number, command.argv)
    reason = os.strerror(number)
    if command.manners is not None:
        return NsbuildError(f"{command.manners.failure(stage, command)}: {reason}")
    if stage == STAGE_WORKDIR:
        return NsbuildError(f"cannot enter working directory {command.workdir}: {reason}")
    if stage == STAGE_IDS:
        return NsbuildError(
            f"cannot become user {command.user}: {reason}",
            "an id that is not mapped cannot be used; see subuid(5)",
        )
    if stage == STAGE_LIMITS:
        return NsbuildError(
            f"cannot set the limits that were asked for: {reason}",
            "only root may raise a limit above the hard one that nsbuild was started with",
        )
    code = EXIT_NOT_FOUND if number == errno.ENOENT else EXIT_CANNOT_INVOKE
    name = command.argv[0] or "''"
    return NsbuildError(f"cannot run {name}: {reason}", _exec_hint(number), code)


def _exec_hint(number: int) -> str:
    if number == errno.ENOENT:
        return "not in the container, or a script or program whose interpreter is not"
    if number == errno.EACCES:
        return "not executable, a directory, or on a noexec mount"
    return ""
