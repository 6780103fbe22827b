"""The house rules, as tests: linters, the direction of imports, sizes, start-up cost, man pages.

A linter's failure shows what the linter said and no traceback: the tool's words are the message.
A missing tool is a failure too, because `make setup` installs it.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

MAX_FILE = 500
MAX_FUNCTION = 60

LAYERS: dict[str, frozenset[str]] = {
    "digest": frozenset(),
    "errors": frozenset(),
    "tuples": frozenset(),
    "determinism": frozenset(),
    "kernel": frozenset({"errors", "tuples"}),
    "seccomp": frozenset({"digest", "errors", "tuples", "kernel"}),
    "supervisor": frozenset({"errors", "tuples", "kernel", "seccomp", "determinism"}),
    "container": frozenset({"errors", "tuples", "kernel", "seccomp", "determinism", "supervisor"}),
    "images": frozenset({"digest", "errors", "tuples", "kernel"}),
    "build": frozenset({"errors", "tuples", "kernel", "determinism", "container", "images"}),
    "cli": frozenset(
        {
            "errors",
            "tuples",
            "kernel",
            "seccomp",
            "determinism",
            "supervisor",
            "container",
            "images",
            "build",
        }
    ),
    "service": frozenset({"errors", "tuples", "supervisor", "container", "images", "cli"}),
    "integrations": frozenset(),
    "__main__": frozenset({"cli"}),
    "__init__": frozenset(),
}
"""What each part of the package may import from the others; its own part always."""

SLOW_IMPORTS = frozenset(
    {"asyncio", "dataclasses", "inspect", "json", "logging", "pyroute2", "pyseccomp"}
    | {"subprocess", "tempfile", "typing_extensions", "unittest"}
)
"""Modules that cost milliseconds each; importing `nsbuild.cli.exec` must not pull them in.

json and pyseccomp are needed by some runs and belong inside the function that needs them.
"""

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
"""A long option in a text."""

TOP = frozenset(
    {".ci", ".dockerignore", ".gitignore", "Dockerfile", "HACKING.md", "LICENSE", "Makefile"}
    | {"NEWS.md", "README.md", "SECURITY.md", "benchmarks", "docs", "hatch_build.py"}
    | {"libfaketime_ext", "nsbuild", "pyproject.toml", "seccomp_profiles", "tests"}
)
"""Everything that lies in the project's top directory."""

FORBIDDEN = re.compile(
    r"/wor[k]/(?:shared|main|\.library)|/tmp/[w]/|/root/\.pyen[v]"
    r"|pypi\.or[g]|pythonhoste[d]\.org|npmj[s]\.org|de[b]\.debian\.org|snapsho[t]\.debian\.org"
    r"|\bissue [#]?[0-9]"
)
"""Paths of somebody's machine, package registries, numbers of issues: no business in the tree."""


def run(*command: str | Path, **extra: str) -> str:
    """Run a tool and return what it said; when it complains, fail with that and no traceback."""
    if shutil.which(str(command[0])) is None:
        pytest.fail(f"{command[0]} is not installed; `make setup` does it", pytrace=False)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=REPO,
        env=os.environ | extra,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(done.stdout or f"{command[0]} exits {done.returncode}", pytrace=False)
    return done.stdout


def run_python(*words: str, **extra: str) -> str:
    """The same for a module of the test environment."""
    return run(sys.executable, *words, **extra)


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the project that git knows or would take."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        check=True,
    )
    names = os.fsdecode(listed.stdout).split("\0")
    return tuple(path for name in sorted(set(names)) if name and (path := REPO / name).is_file())


def python_files() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def shell_files() -> list[Path]:
    """Scripts of sh and bash: by suffix or by their first line."""
    shebang = re.compile(rb"#!.*\b(?:ba|da)?sh\b")
    return [
        path
        for path in tracked()
        if path.suffix == ".sh" or (not path.suffix and shebang.match(path.read_bytes()[:80]))
    ]


def man_sources() -> list[Path]:
    return [path for path in tracked() if path.parent.name == "man" and path.suffix == ".md"]


def complain(complaints: list[str]) -> None:
    """Fail with one line for each complaint."""
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def where(path: Path, line: int = 0) -> str:
    shown = str(path.relative_to(REPO))
    return f"{shown}:{line}" if line else shown


# Linters


def test_ruff_check() -> None:
    run_python("-m", "ruff", "check", "--no-cache", "--output-format=concise", ".")


def test_ruff_format() -> None:
    run_python("-m", "ruff", "format", "--no-cache", "--check", ".")


def test_mypy_strict() -> None:
    run_python("-m", "mypy", "--strict", "--no-color-output")


def test_shellcheck() -> None:
    scripts = shell_files()
    assert scripts, "no shell script found: the search is broken"
    run("shellcheck", "--external-sources", *scripts)


# Man pages


@pytest.mark.parametrize("source", man_sources(), ids=lambda path: str(path.stem))
def test_man_page_builds_without_warnings(source: Path, tmp_path: Path) -> None:
    page = tmp_path / source.stem
    run(
        "pandoc",
        "--fail-if-warnings",
        "-s",
        "-f",
        "markdown-smart",
        "-t",
        "man",
        "-o",
        page,
        source,
    )
    run(
        *(
            "sh",
            "-c",
            'said=$(man --warnings -l -Tutf8 -Z "$1" 2>&1 >/dev/null); echo "$said"; ! [ "$said" ]',
        ),
        *("sh", page),
        LC_ALL="C.UTF-8",
        MANROFFSEQ="",
        MANWIDTH="80",
    )


@pytest.mark.parametrize("source", man_sources(), ids=lambda path: str(path.stem))
def test_man_page_is_found_by_who_finds_the_command(source: Path) -> None:
    """As man(1) finds it, from the PATH."""
    name = source.stem.removesuffix(".1")
    found = run("man", "-w", name, PATH=f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}")
    assert Path(found.strip()) == Path(sys.prefix) / "share/man/man1" / source.stem


def documented(page: str) -> set[str]:
    """The options that a man page names."""
    return set(OPTION.findall((REPO / "docs/man" / page).read_text()))


def test_every_option_of_exec_is_in_its_man_page() -> None:
    offered = set(OPTION.findall(run_python("-m", "nsbuild", "exec", "--help")))
    assert offered, "nsbuild exec --help shows no options"
    missing = offered - documented("nsbuild-exec.1.md")
    complain([f"docs/man/nsbuild-exec.1.md: no word about {name}" for name in missing])


def test_every_option_of_chroot_is_in_its_man_page() -> None:
    from nsbuild.cli.chroot import OURS, THEIRS

    missing = {f"--{name}" for name in (*OURS, *THEIRS)} - documented("nsbuild-chroot.1.md")
    complain([f"docs/man/nsbuild-chroot.1.md: no word about {name}" for name in missing])


def test_every_option_of_nspawn_is_in_its_man_page() -> None:
    from nsbuild.cli.nspawnoptions import OURS, THEIRS

    page = (REPO / "docs/man/nsbuild-nspawn.1.md").read_text()
    missing = [f"--{name}" for name in (*OURS, *THEIRS) if f"**--{name}**" not in page]
    complain([f"docs/man/nsbuild-nspawn.1.md: no word about {name}" for name in missing])


@pytest.mark.parametrize(
    ("page", "verbs"),
    [
        ("nsbuild-image.1.md", ("images", "tag", "untag", "rmi", "history", "inspect")),
        (
            "nsbuild-image.1.md",
            tuple(f"image {verb}" for verb in ("inspect", "diff", "exists", "prune", "verify")),
        ),
        ("nsbuild-build.1.md", ("build",)),
        ("nsbuild-pull.1.md", ("pull", "push", "load", "save", "import")),
    ],
)
def test_every_option_about_images_is_in_a_man_page(page: str, verbs: tuple[str, ...]) -> None:
    told = documented(page)
    for verb in verbs:
        offered = set(OPTION.findall(run_python("-m", "nsbuild", *verb.split(), "--help")))
        missing = offered - told - {"--help"}
        complain([f"docs/man/{page}: no word about {name} of {verb}" for name in missing])


# Sizes and prose


def test_every_module_says_what_it_is() -> None:
    complain(
        [
            f"{where(path)}: no docstring"
            for path in python_files()
            if not ast.get_docstring(ast.parse(path.read_text()))
        ]
    )


def test_files_are_short() -> None:
    sources = [path for path in tracked() if path.suffix in {".py", ".c", ".h", ".S", ".go", ".sh"}]
    complain(
        [
            f"{where(path)}: {lines} lines, {MAX_FILE - 1} at most"
            for path in sources
            if (lines := len(path.read_text().splitlines())) >= MAX_FILE
        ]
    )


def test_functions_fit_a_screen() -> None:
    complain(
        [
            f"{where(path, node.lineno)}: {node.name} has {lines} lines, {MAX_FUNCTION} at most"
            for path in python_files()
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION
        ]
    )


def test_nothing_else_lies_at_the_top() -> None:
    """What a guest made when it was tried out in the checkout is easily added with the rest."""
    assert {path.relative_to(REPO).parts[0] for path in tracked()} - TOP == set()


def test_nothing_names_this_machine() -> None:
    complain(
        [
            f"{where(path, number)}: {found.group()}"
            for path in tracked()
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
            if (found := FORBIDDEN.search(line))
        ]
    )


def test_the_version_is_the_same_everywhere() -> None:
    import nsbuild

    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert project["version"] == nsbuild.__version__
    assert f"# nsbuild {nsbuild.__version__}" in (REPO / "NEWS.md").read_text()


# Imports


def package_modules() -> dict[str, ast.Module]:
    """Dotted name -> syntax tree, for every module of the package."""
    modules = {}
    for path in python_files():
        relative = path.relative_to(REPO)
        if relative.parts[0] == "nsbuild":
            parts = relative.with_suffix("").parts
            modules[".".join(parts)] = ast.parse(path.read_text())
    return modules


def imported(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import outside `if TYPE_CHECKING`, lazy ones included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        else:
            yield from imported(module, node)


def module_of(name: str, known: frozenset[str]) -> str | None:
    """The module of ours that `name` (a module or something in it) is or lies in."""
    for candidate in (name, f"{name}.__init__", name.rpartition(".")[0]):
        if candidate in known:
            return candidate
    package = f"{name.rpartition('.')[0]}.__init__"
    return package if package in known else None


def our_imports() -> dict[str, list[tuple[int, str]]]:
    """Module -> (line, module of ours that it imports)."""
    modules = package_modules()
    known = frozenset(modules)
    return {
        module: [
            (line, target)
            for line, name in imported(module, tree)
            if name.split(".")[0] == "nsbuild" and (target := module_of(name, known))
        ]
        for module, tree in modules.items()
    }


def test_imports_point_one_way() -> None:
    complaints = []
    for module, targets in our_imports().items():
        layer = module.split(".")[1]
        for line, target in targets:
            other = target.split(".")[1]
            if other not in {layer, "__init__"} and other not in LAYERS[layer]:
                complaints.append(f"{module}:{line}: {layer} must not import {target}")
    complain(complaints)


def test_no_import_cycles() -> None:
    graph = {module: {target for _, target in found} for module, found in our_imports().items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            pytest.fail(" -> ".join([*path[path.index(module) :], module]), pytrace=False)
        if module not in done:
            for target in sorted(graph[module] - {module}):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_ctypes_stays_in_kernel() -> None:
    complain(
        [
            f"{module}:{line}: ctypes belongs in nsbuild.kernel"
            for module, tree in package_modules().items()
            for line, name in imported(module, tree)
            if name.split(".")[0] == "ctypes" and module.split(".")[1] != "kernel"
        ]
    )


@pytest.mark.parametrize(
    ("modules", "more"),
    [
        ("nsbuild.cli.exec", ()),
        ("nsbuild.cli.chroot, nsbuild.cli.rules, nsbuild.container.front", ("argparse", "tomllib")),
        ("nsbuild.cli.nspawn, nsbuild.cli.rules, nsbuild.container.front", ("argparse", "tomllib")),
    ],
)
def test_verbs_import_nothing_slow(modules: str, more: tuple[str, ...]) -> None:
    """Start-up is part of the product: what a verb imports is loaded on every run."""
    measured = run_python("-X", "importtime", "-c", f"import {modules}")
    cost = {}
    for line in measured.splitlines()[1:]:
        _, cumulative, name = line.removeprefix("import time:").split("|")
        cost[name.strip()] = int(cumulative)
    assert "nsbuild.container.front" in cost
    slow = SLOW_IMPORTS | set(more)
    complain([f"{modules} import {name} ({cost[name]} us)" for name in cost if name in slow])


def test_finding_an_image_loads_little() -> None:
    """Every start of a container does it; what reads archives is for those who unpack."""
    script = "import sys, nsbuild.images.store; print(*sys.modules)"
    loaded = set(run_python("-c", script).split())
    assert "nsbuild.images.store" in loaded
    heavy = {"tarfile", "lzma", "bz2", "subprocess", "secrets", "nsbuild.images.unpack"}
    complain([f"nsbuild.images.store imports {name}" for name in heavy & loaded])
