"""The options about registries that verbs share, and what skopeo is to be told for them."""

from __future__ import annotations

import argparse
import os

from nsbuild.cli.podman import PodmanParser
from nsbuild.errors import NsbuildError

FLAGS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def flag(text: str) -> bool:
    """A boolean as Podman's options take it."""
    if text.lower() not in FLAGS:
        raise argparse.ArgumentTypeError(f'invalid argument "{text}": not true or false')
    return FLAGS[text.lower()]


def add_options(parser: PodmanParser) -> None:
    """Those of pull and push."""
    add = parser.add_argument
    add("--authfile", metavar="FILE", help="where passwords for registries are")
    add("--cert-dir", metavar="DIR", help="certificates for registries")
    add("--creds", metavar="USER[:PASSWORD]", help="who to be at the registry")
    add("-q", "--quiet", action="store_true", help="say nothing but the result")
    add("--tls-verify", metavar="BOOL", nargs="?", const=True, type=flag, help="ask for HTTPS")


def skopeo_options(options: argparse.Namespace, side: str) -> list[str]:
    """What skopeo copy is told; `side` is `src` or `dest`, where the registry is."""
    found = []
    if options.authfile:
        if not os.path.exists(options.authfile):
            raise NsbuildError(
                f"checking authfile: stat {options.authfile}: no such file or directory"
            )
        found += ["--authfile", os.path.abspath(options.authfile)]
    if options.cert_dir:
        found += [f"--{side}-cert-dir", os.path.abspath(options.cert_dir)]
    if options.creds:
        found += [f"--{side}-creds", options.creds]
    if options.tls_verify is not None:
        found.append(f"--{side}-tls-verify={'true' if options.tls_verify else 'false'}")
    return found
