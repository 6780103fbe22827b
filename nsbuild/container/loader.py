"""The dynamic loader of a container's root, whose own calls its filter lets go."""

from __future__ import annotations

import resource
from contextlib import closing, suppress

from nsbuild.container.epochs import Tree
from nsbuild.container.spec import ContainerSpec, RootSpec
from nsbuild.errors import NsbuildError
from nsbuild.seccomp.loader import LARGEST, PATH, Sites, sites


def sites_in(spec: ContainerSpec) -> Sites:
    """Where the loader in the container makes its calls; NOWHERE if there is none.

    Another one that the build uses has other places, which costs it time and nothing else.
    """
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    for number, soft, _ in spec.command.limits:
        if number == resource.RLIMIT_STACK:
            stack = soft
    return sites(_read(spec.root), stack)


def _read(root: RootSpec) -> bytes:
    """The loader's file, or nothing: then nothing is let go, and whatever is wrong shows later."""
    for place in (root.target, *reversed(root.layers)):
        with suppress(NsbuildError), closing(Tree(place)) as tree:
            text = tree.read(PATH, LARGEST)
            if text:
                return text
    return b""
