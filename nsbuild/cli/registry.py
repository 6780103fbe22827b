"""The options about registries that verbs share, and what skopeo is to be told for them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from nsbuild.cli.podman import PodmanParser
from nsbuild.errors import NsbuildError
from nsbuild.images.documents import Image
from nsbuild.images.store import Store

FLAGS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def flag(text: str) -> bool:
    """A boolean as Podman's options take it."""
    if text.lower() not in FLAGS:
        raise argparse.ArgumentTypeError(f'invalid argument "{text}": not true or false')
    return FLAGS[text.lower()]


def add_options(parser: PodmanParser) -> None:
    """Those of pull and push."""
    add = parser.add_argument
    add_access(parser)
    add("--cert-dir", metavar="DIR", help="certificates for registries")
    add("--creds", metavar="USER[:PASSWORD]", help="who to be at the registry")
    add("-q", "--quiet", action="store_true", help="say nothing but the result")


def add_access(parser: PodmanParser) -> None:
    """What also the verbs have that make a container, as Podman's do."""
    add = parser.add_argument
    add("--authfile", metavar="FILE", help="where passwords for registries are")
    add("--tls-verify", metavar="BOOL", nargs="?", const=True, type=flag, help="ask for HTTPS")
    parser.set_defaults(cert_dir=None, creds=None)


def add_pull(parser: PodmanParser) -> None:
    """When an image is pulled by a verb that does something else with it."""
    parser.add_argument(
        "--pull",
        metavar="missing|always|never",
        default="missing",
        choices=("missing", "always", "never"),
        help="when to pull the image (missing)",
    )


def found_or_pulled(store: Store, name: str, options: argparse.Namespace) -> Image:
    """The image `name`, from the store or from where its name says; raises NsbuildError.

    `options` are those of a verb that has called `add_access` and `add_pull`. Who need not pull
    is not asked for a password.
    """
    _check_authfile(options)
    found = None if options.pull == "always" else store.find(name)
    if found is not None or options.pull == "never":
        return found or store.image(name)
    return pulled(store, name, options.quiet, skopeo_options(options, "src"))[0]


def pulled(
    store: Store, name: str, quiet: bool, options: Sequence[str], overrides: Sequence[str] = ()
) -> list[Image]:
    """Pull `name`, and show how far it is; `options` and `overrides` are those of skopeo."""
    from nsbuild.cli.progress import Progress
    from nsbuild.images.transfer import pull

    with Progress(quiet) as progress:
        store.say, store.advance = progress.say, progress.advance
        return pull(store, name, progress.say, options, overrides)


def skopeo_options(options: argparse.Namespace, side: str) -> list[str]:
    """What skopeo copy is told; `side` is `src` or `dest`, where the registry is."""
    found = []
    _check_authfile(options)
    if options.authfile:
        found += ["--authfile", os.path.abspath(options.authfile)]
    if options.cert_dir:
        found += [f"--{side}-cert-dir", os.path.abspath(options.cert_dir)]
    if options.creds:
        found += [f"--{side}-creds", _with_password(options.creds)]
    if options.tls_verify is not None:
        found.append(f"--{side}-tls-verify={'true' if options.tls_verify else 'false'}")
    return found


def _check_authfile(options: argparse.Namespace) -> None:
    """As Podman does, also where nothing is going to be pulled."""
    if options.authfile and not os.path.exists(options.authfile):
        raise NsbuildError(f"checking authfile: stat {options.authfile}: no such file or directory")


def _with_password(credentials: str) -> str:
    """USER:PASSWORD; who gives USER alone is asked for the other, on a terminal."""
    if ":" in credentials:
        return credentials
    if not os.isatty(0):
        raise NsbuildError(
            f"--creds {credentials} has no password, and stdin is no terminal to ask for it",
            f"give --creds {credentials}:PASSWORD, or --authfile with what skopeo login wrote",
        )
    import getpass

    return f"{credentials}:{getpass.getpass('Password: ')}"
