"""The command line: a static table of verbs, each imported only when it is called.

Start-up is part of the product, so nothing is imported here that a verb might not need, and a
verb's summary is written here rather than asked from its module.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import os
import signal
import sys
from typing import NoReturn

from nsbuild.errors import EXIT_OURS, NsbuildError, exit_status, report
from nsbuild.kernel import children

VERBS = {
    "exec": ("nsbuild.cli.exec", "run a command deterministically in a root directory"),
    "run": ("nsbuild.cli.run", "the same in a new container from an image"),
    "create": ("nsbuild.cli.create", "make a container from an image"),
    "start": ("nsbuild.cli.start", "start containers"),
    "attach": ("nsbuild.cli.attach", "see and feed a container that runs"),
    "stop": ("nsbuild.cli.stop", "stop containers"),
    "kill": ("nsbuild.cli.kill", "signal containers"),
    "wait": ("nsbuild.cli.wait", "wait for containers to end"),
    "rm": ("nsbuild.cli.rm", "remove containers"),
    "ps": ("nsbuild.cli.ps", "list containers"),
    "logs": ("nsbuild.cli.logs", "show what containers have written"),
    "top": ("nsbuild.cli.top", "list the processes of a container"),
    "cp": ("nsbuild.cli.cp", "copy files into or out of a container"),
    "diff": ("nsbuild.cli.diff", "list what a container has changed"),
    "export": ("nsbuild.cli.export", "write a container's files as a tar archive"),
    "commit": ("nsbuild.cli.commit", "make an image of a container"),
    "container": ("nsbuild.cli.container", "the same verbs, and prune"),
    "chroot": ("nsbuild.cli.chroot", "the same, in the place of chroot(1)"),
    "nspawn": ("nsbuild.cli.nspawn", "the same, in the place of systemd-nspawn(1)"),
    "install-chroot": ("nsbuild.cli.install", "be the machine's chroot, or that of a root"),
    "uninstall-chroot": ("nsbuild.cli.uninstall", "be it no longer"),
    "build": ("nsbuild.cli.build", "make an image as a Containerfile says"),
    "images": ("nsbuild.cli.images", "list the images of the store"),
    "pull": ("nsbuild.cli.pull", "bring images from registries into the store"),
    "push": ("nsbuild.cli.push", "bring an image to a registry"),
    "load": ("nsbuild.cli.load", "take images out of an archive into the store"),
    "save": ("nsbuild.cli.save", "write images to an archive"),
    "import": ("nsbuild.cli.importing", "make an image of a root file system's tarball"),
    "tag": ("nsbuild.cli.tag", "give names to an image"),
    "untag": ("nsbuild.cli.untag", "take names from an image"),
    "rmi": ("nsbuild.cli.rmi", "remove images from the store"),
    "history": ("nsbuild.cli.history", "show how an image was made"),
    "inspect": ("nsbuild.cli.inspect", "show all that is known of a container or an image"),
    "image": ("nsbuild.cli.image", "these, and more verbs about images"),
    "system": ("nsbuild.service.main", "serve Docker's and Podman's API on a socket"),
    "completion": ("nsbuild.cli.completion", "print what a shell needs to complete all this"),
    "epoch": ("nsbuild.cli.epoch", "print when the clock of a root directory has to begin"),
}
"""Verb -> (module with `main(arguments) -> exit code`, summary)."""

_USAGE = "usage: nsbuild VERB [ARGUMENT...]\n       nsbuild VERB --help\n\nverbs:\n"
_OPTIONS = "\noptions:\n  --help     show this\n  --version  show the version\n"


NAMES = {"chroot": "chroot", "systemd-nspawn": "nspawn"}
"""Name of a program that we stand in for -> the verb that does."""


def main(verb: str = "") -> NoReturn:
    """The console script: runs the verb and exits with its code.

    Called by the name of a program that we stand in for, or told so, it is that verb.
    """
    verb = verb or NAMES.get(os.path.basename(sys.argv[0]), "")
    arguments = [verb] * bool(verb) + sys.argv[1:]
    if arguments[:1] == ["chroot"] and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        # No exception: its caller is to see that the signal has ended it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    children.hear()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What comes from outside may be no text, and be shown all the same.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = dispatch(arguments)
    except NsbuildError as error:
        report(str(error))
        code = exit_status(error.code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # Whoever read our help has seen enough of it.
        code = exit_status(EXIT_OURS)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End this process, without taking the interpreter apart where nobody would notice.

    That takes as long as running a short command. Exit handlers and threads are what needs it.
    """
    if not atexit._ncallbacks() and "threading" not in sys.modules:
        with contextlib.suppress(OSError):
            for stream in (sys.stdout, sys.stderr):
                # None where the caller has closed the descriptor.
                if stream is not None and not stream.closed:
                    stream.flush()
            os._exit(code)
    sys.exit(code)


def dispatch(arguments: list[str]) -> int:
    """Run one verb; returns its exit code, raises NsbuildError."""
    verb = arguments[0] if arguments else ""
    if verb in VERBS:
        # Nothing of what is loaded is ever garbage, so looking for some only takes time, then and
        # at each later collection.
        gc.disable()
        module = importlib.import_module(VERBS[verb][0])
        gc.freeze()
        gc.enable()
        return int(module.main(arguments[1:]))
    if verb in ("-h", "--help", "help"):
        lines = (f"  {name:<17} {summary}\n" for name, (_, summary) in VERBS.items())
        sys.stdout.write(_USAGE + "".join(lines) + _OPTIONS)
        return 0
    if verb == "--version":
        from nsbuild import __version__

        sys.stdout.write(f"nsbuild {__version__}\n")
        return 0
    if not verb:
        raise NsbuildError("no verb given", "see nsbuild --help")
    from nsbuild.cli.podman import refuse_verb

    refuse_verb(verb)
    raise NsbuildError(f"no verb {verb!r}", f"there is: {', '.join(VERBS)}; see nsbuild --help")
