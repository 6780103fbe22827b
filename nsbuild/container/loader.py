"""The dynamic loader of a container's root, whose own calls its filter lets go."""

from __future__ import annotations

import os
import resource
import stat

from nsbuild.container.spec import ContainerSpec, RootSpec
from nsbuild.kernel.mount import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
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
        try:
            top = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            how = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
            with open(openat2(top, PATH, os.O_RDONLY | os.O_NONBLOCK, how), "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return file.read(LARGEST)
        except OSError:
            continue
        finally:
            os.close(top)
    return b""
