"""The file that stands in for chroot(1) or systemd-nspawn(1): what it says, where it is put, and
how it is taken away.

It is a few lines of Python and no symbolic link, so that it runs with the Python that nsbuild was
installed for and without the caller's PYTHON variables. Either it comes before the real one in
every usual PATH, or it takes its place by dpkg-divert(1), which keeps the real one under the same
name with .distrib behind it. Each step replaces one whole file by another, since somebody may call
the program at any moment, and may be repeated.
"""

from __future__ import annotations

import os
import subprocess
import sys

from nsbuild.cli.parser import Parser
from nsbuild.errors import NsbuildError
from nsbuild.tuples import NamedTuple


class Original(NamedTuple):
    """What is stood in for: its `name` and `place`; `beside` is found before that, `verb` is ours.

    `option` chooses it on the command line.
    """

    name: str
    verb: str
    beside: str
    place: str
    option: str = ""

    @property
    def aside(self) -> str:
        """Where the real one is while ours has its place."""
        return f"{self.place}.distrib"

    @property
    def mark(self) -> str:
        """The line that ours is known by."""
        return (
            f"# This is nsbuild's {self.name}; "
            f"`nsbuild uninstall-chroot{self.option}` takes it away again."
        )


CHROOT = Original("chroot", "chroot", "/usr/local/sbin/chroot", "/usr/sbin/chroot")
NSPAWN = Original(
    "systemd-nspawn",
    "nspawn",
    "/usr/local/bin/systemd-nspawn",
    "/usr/bin/systemd-nspawn",
    " --nspawn",
)

_SCRIPTS = ("/usr/local/bin/nsbuild", "/usr/bin/nsbuild", "/opt/nsbuild/bin/nsbuild")
"""Where an installed nsbuild is looked for in another root."""
_LONGEST_LINE = 255
"""BINPRM_BUF_SIZE, which the first line of a script must fit in."""


class Standin:
    """The file, in the machine's own root or in another one; `divert` chooses the place."""

    def __init__(self, root: str, divert: bool, original: Original = CHROOT) -> None:
        if not os.path.isdir(root):
            raise NsbuildError(f"no directory {root!r}")
        self._root = os.path.realpath(root).rstrip("/")
        self._divert = divert
        self._original = original
        self.path = self._root + (original.place if divert else original.beside)

    def install(self) -> str:
        """Put it there; says what was done."""
        text = self._text()
        present = _read(self.path)
        ours = self._original.mark in present
        # A link that leads nowhere is somebody's as well.
        if not self._divert and not ours and (present or os.path.islink(self.path)):
            raise NsbuildError(f"{self.path} is not nsbuild's", "move it away first")
        if self._divert:
            # Again, too, in case that dpkg has been told otherwise since.
            self._dpkg_divert("--add")
            if not ours:
                self._put_aside()
        if present == text:
            return f"nsbuild's {self._original.name} is {self.path} already"
        _replace(self.path, text)
        return f"nsbuild's {self._original.name} is {self.path} now"

    def uninstall(self) -> str:
        """Take it away; says what was done, nothing being there included."""
        present = _read(self.path)
        ours = self._original.mark in present
        if present and not ours and not self._divert:
            raise NsbuildError(f"{self.path} is not nsbuild's", "it was left as it is")
        try:
            if self._divert and ours:
                os.rename(self._root + self._original.aside, self.path)
            elif ours:
                os.unlink(self.path)
        except OSError as error:
            raise NsbuildError.from_os(f"cannot take {self.path} away", error) from error
        if self._divert and self._diverted():
            self._dpkg_divert("--remove")
        return f"{self.path} {'is no longer' if ours else 'was not'} nsbuild's"

    def _put_aside(self) -> None:
        """Keep the real one under its other name as well, for the moment under both."""
        aside = self._root + self._original.aside
        try:
            if not os.path.lexists(aside):
                os.link(self.path, aside)
        except OSError as error:
            self._dpkg_divert("--remove")
            hint = ""
            if isinstance(error, FileNotFoundError):
                hint = f"no {self._original.name} is installed; --divert is for one that is"
            what = f"cannot keep {self.path} as {aside}"
            raise NsbuildError.from_os(what, error, hint) from error

    def _diverted(self) -> bool:
        shown = self._dpkg_divert("--listpackage")
        return shown.strip() == "LOCAL"

    def _dpkg_divert(self, act: str) -> str:
        """Tell dpkg, which must not write over our file when the real one is upgraded."""
        command = ["dpkg-divert", f"--root={self._root or '/'}"]
        if act != "--listpackage":
            # With --rename there would be no program for a moment, and dpkg warns of that.
            command += ["--quiet", "--local", "--no-rename", f"--divert={self._original.aside}"]
        try:
            done = subprocess.run(
                [*command, act, self._original.place], capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise NsbuildError.from_os(
                "cannot run dpkg-divert", error, "--divert is for Debian and its like"
            ) from error
        if done.returncode:
            said = done.stderr.strip().replace("\n", " ")
            raise NsbuildError(f"cannot divert {self.path}: {said}")
        return done.stdout

    def _text(self) -> str:
        """The script, for the Python and the nsbuild of the root that it is for."""
        python, wanted = self._python()
        first = f"#!{python} -I"
        if " " in python or len(os.fsencode(first)) > _LONGEST_LINE:
            raise NsbuildError(
                f"cannot start a script by {python}", "the path is too long or has a space in it"
            )
        # A checkout that was not installed is not where that Python looks.
        path = ""
        if wanted not in ("", self._package_of(python, path)):
            path = f"sys.path.insert(0, {os.path.dirname(wanted)!r})\n"
        found = self._package_of(python, path)
        if not found or wanted not in ("", found):
            raise NsbuildError(
                f"{python} cannot run nsbuild", "a module that it needs cannot be imported"
            )
        call = f"from nsbuild.cli import main\n\nmain({self._original.verb!r})\n"
        return f"{first}\n{self._original.mark}\nimport sys\n\n{path}{call}"

    def _python(self) -> tuple[str, str]:
        """A Python in the root, and the package's directory that it is to run, "" for its own."""
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if not self._root:
            return sys.executable, here
        for script in _SCRIPTS:
            first = _read(self._root + script).partition("\n")[0]
            if first.startswith("#!/") and "python" in first:
                return first[2:].split()[0], ""
        if os.path.exists(self._root + here) and os.path.lexists(self._root + sys.executable):
            return sys.executable, here
        raise NsbuildError(
            f"no nsbuild inside {self._root}",
            f"install it there first; it is looked for at {', '.join(_SCRIPTS)}",
        )

    def _package_of(self, python: str, path: str) -> str:
        """The directory of the nsbuild that the script would run; "" if that would not work."""
        program = (
            f"import os, sys\n{path}import nsbuild.cli.{self._original.verb}, nsbuild.cli.rules\n"
            "print(os.path.dirname(nsbuild.__file__))"
        )
        enter = [] if not self._root else [_chroot_of_the_system(), self._root]
        done = subprocess.run(
            [*enter, python, "-I", "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
        )
        return done.stdout.rstrip("\n")


def _chroot_of_the_system() -> str:
    return CHROOT.aside if os.path.exists(CHROOT.aside) else CHROOT.place


def _read(path: str) -> str:
    """The text of a file, "" where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise NsbuildError.from_os(f"cannot read {path}", error) from error


def _replace(path: str, text: str) -> None:
    """Make `path` a program with this text, in one step."""
    new = f"{path}.nsbuild-new"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(new, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o755)
            file.write(text)
        os.rename(new, path)
    except OSError as error:
        if os.path.exists(new):
            os.unlink(new)
        raise NsbuildError.from_os(f"cannot write {path}", error) from error


def standin_of(verb: str, summary: str, arguments: list[str]) -> Standin:
    """What the command line of `verb` means."""
    parser = Parser(prog=f"nsbuild {verb}", description=summary, allow_abbrev=False)
    parser.add_argument(
        "--divert",
        action="store_true",
        help=f"at {CHROOT.place} itself, by dpkg-divert, instead of {CHROOT.beside}",
    )
    parser.add_argument(
        "--nspawn",
        action="store_true",
        help=f"{NSPAWN.name} rather than chroot: {NSPAWN.beside}, or {NSPAWN.place}",
    )
    parser.add_argument("root", metavar="ROOT", nargs="?", default="/", help="another root (/)")
    options = parser.parse_args(arguments)
    return Standin(options.root, options.divert, NSPAWN if options.nspawn else CHROOT)
