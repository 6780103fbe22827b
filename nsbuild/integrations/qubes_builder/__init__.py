"""An executor of type `nsbuild` for qubes-builder v2.

v2 imports every module in the directories that `plugins-dirs` of its configuration names, before
it makes an executor. `plugins/` is such a directory, and
`python3 -m nsbuild.integrations.qubes_builder` prints where it lies. docs/qubes-builder.md is for
who uses it.

Licence: this package is GPL-2.0-or-later like all of nsbuild. qubes-builder v2 is
GPL-3.0-or-later, and the executor is a subclass of a class of v2's, so the two together are under
GPL-3.0-or-later, which the "or later" of nsbuild's licence allows. Nothing else of nsbuild becomes
part of that combination: it runs as a command of its own.
"""

from __future__ import annotations

import os


def plugins_dir() -> str:
    """The directory to name in `plugins-dirs`."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "plugins")
