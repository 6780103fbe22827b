"""What images are called: texts to references and back, by the rules of Docker and Podman.

A reference is DOMAIN/PATH:TAG or DOMAIN/PATH@DIGEST. The first part of a name is a domain when it
has a dot or a colon or is `localhost`; without one the name is *short*. A short name is looked for
at `localhost/` and then at Docker Hub, where names of one part lie below `library/`; a name that is
given to an image here begins with `localhost/`, and one that is pulled is Docker Hub's.

The grammar is that of https://github.com/distribution/reference.
"""

from __future__ import annotations

import re

from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple

DEFAULT_TAG = "latest"
LOCAL = "localhost"
HUB = "docker.io"
_HUB_OLD = ("index.docker.io", "registry-1.docker.io")
_LIBRARY = "library"

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ID = re.compile(r"(?:sha256:)?(?P<hex>[0-9a-f]{1,64})")
_LONGEST = 255


class Reference(NamedTuple):
    """Its parts; the domain of a short name is empty, as are a tag or digest that it lacks."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return self.repository + tag + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The parts of `text`; raises NsbuildError."""
    rest, _, digest = text.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise _invalid(text)
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag, colon = rest, "", ""
    first, slash, path = name.partition("/")
    domain = ""
    if slash and (first == LOCAL or any(sign in first for sign in ".:")):
        domain, name = first, path
    if (domain and not _DOMAIN.fullmatch(domain)) or (colon and not _TAG.fullmatch(tag)):
        raise _invalid(text)
    if not _PATH.fullmatch(name) or len(name) > _LONGEST:
        lower = _PATH.fullmatch(name.lower()) and len(name) <= _LONGEST
        raise _invalid(text, ": repository name must be lowercase" if lower else "")
    if domain in _HUB_OLD:
        domain = HUB
    if domain == HUB and "/" not in name:
        name = f"{_LIBRARY}/{name}"
    if domain and not (tag or digest):
        tag = DEFAULT_TAG
    return Reference(domain, name, tag, digest)


def _invalid(text: str, why: str = "") -> NsbuildError:
    return NsbuildError(f'parsing reference "{text}": invalid reference format{why}')


def local(text: str) -> str:
    """The full name that `text` gives to an image here."""
    return str(_at(parse(text), LOCAL))


def remote(text: str) -> str:
    """The full name of what `text` pulls."""
    return str(_at(parse(text), HUB))


def _at(reference: Reference, domain: str) -> Reference:
    """A full reference; a short one is taken to lie at `domain`."""
    if reference.domain:
        return reference
    path = reference.path
    if domain == HUB and "/" not in path:
        path = f"{_LIBRARY}/{path}"
    tag = reference.tag or ("" if reference.digest else DEFAULT_TAG)
    return reference._replace(domain=domain, path=path, tag=tag)


def candidates(text: str) -> tuple[str, ...]:
    """The full names that `text` may stand for here, the likeliest first."""
    reference = parse(text)
    if reference.domain:
        return (str(reference),)
    return str(_at(reference, LOCAL)), str(_at(reference, HUB))


def may_mean(text: str) -> tuple[str, ...]:
    """The same; none where `text` is no reference but perhaps something else."""
    try:
        return candidates(text)
    except NsbuildError:
        return ()


def means(text: str, name: str) -> bool:
    """Whether the short name `text` is the end of the full `name`, whatever registry it is at."""
    short, full = parse(text), parse(name)
    tag = short.tag or ("" if short.digest else DEFAULT_TAG)
    if short.domain or tag != full.tag or short.digest != full.digest:
        return False
    return f"/{full.path}".endswith(f"/{short.path}")


def id_prefix(text: str) -> str:
    """The hexadecimal digits of an image's id or the start of it; empty where it is none."""
    found = _ID.fullmatch(text)
    return found["hex"] if found else ""


def repository_and_tag(name: str) -> tuple[str, str]:
    """The two columns of a table of images."""
    reference = parse(name)
    return reference.repository, reference.tag or "<none>"
