"""The argument parser of the verbs that are nsbuild's own."""

from __future__ import annotations

import argparse
from typing import NoReturn

from nsbuild.errors import NsbuildError


class Parser(argparse.ArgumentParser):
    """Reports usage errors as everything else is reported: one line, exit code 125."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        raise NsbuildError(message, f"see {self.prog} --help")
