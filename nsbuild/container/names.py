"""Ids and names of containers: random ones, because they are for the host and its people only.

Nothing inside sees them; what a container is called there follows from its options.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from nsbuild.errors import NsbuildError

_VALID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_FIRST_WORDS = (
    "bold brave bright calm clever eager fair fine fond frank free fresh gentle glad good grand "
    "happy keen kind lively loyal lucky merry mild neat noble patient plain proud quick quiet "
    "ready sharp smart sound steady still strong sure sweet swift tidy true vivid warm wise "
    "witty"
)
_FIRST = _FIRST_WORDS.split()
_SECOND_WORDS = (
    "abel banach bernoulli bohr boole cantor cauchy church curie dirac einstein erdos euclid "
    "euler faraday fermat fourier galois gauss germain godel hamming hilbert hopper hypatia "
    "jacobi kepler khayyam lagrange lamport laplace leibniz lovelace maxwell mendel newton "
    "noether pascal peano planck poincare ramanujan riemann shannon tarski thales turing weyl "
    "wiener"
)
_SECOND = _SECOND_WORDS.split()
SHORT = 12
"""Digits of an id that are shown."""


def new_id() -> str:
    """64 hexadecimal digits."""
    return os.urandom(32).hex()


def new_name(taken: Callable[[str], bool]) -> str:
    """An adjective and somebody's name, with a number behind them where all else is `taken`."""
    for tries in range(1000):
        first, second, number = os.urandom(3)
        name = f"{_FIRST[first % len(_FIRST)]}_{_SECOND[second % len(_SECOND)]}"
        name += str(number) if tries > 10 else ""
        if not taken(name):
            return name
    raise NsbuildError("cannot find a name for the container", "give one with --name")


def check_name(name: str) -> str:
    """`name`, if a container may be called so."""
    if _VALID.fullmatch(name) is None:
        raise NsbuildError(
            "running container create option: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: "
            "invalid argument"
        )
    return name
