"""nsbuild completion: what a shell needs to complete verbs, options, containers and images.

The words come from the verbs themselves: each is asked for its --help when the script is written,
so nothing has to be kept in step with them. Names of containers and images are asked for by the
shell when they are needed.
"""

from __future__ import annotations

import os
import re
import sys

from nsbuild.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish")
CONTAINERS = frozenset(
    [
        "attach",
        "commit",
        "cp",
        "diff",
        "exec",
        "export",
        "kill",
        "logs",
        "rm",
        "start",
        "stop",
        "top",
        "wait",
    ]
)
"""Verbs that take names of containers."""
IMAGES = frozenset({"create", "history", "push", "rmi", "run", "save", "tag", "untag"})
"""Verbs that take names of images."""

_ASK_CONTAINERS = "nsbuild ps -a --format '{{.Names}}' 2>/dev/null"
_ASK_IMAGES = "nsbuild images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null"

Words = dict[str, list[str]]
"""`image ls` and the like, or `` for the first word -> what may follow."""


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="nsbuild completion",
        description="Print the script that lets a shell complete what is typed behind nsbuild.",
        epilog="bash: source <(nsbuild completion bash); see nsbuild(1).",
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    shell = parser.parse_args(arguments).shell
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    sys.stdout.write(script(*collect()))
    return 0


def collect() -> tuple[Words, Words]:
    """Which verbs there are, and the options of each."""
    from nsbuild.cli import VERBS, container, image

    of_container = sorted({*container.SAME, *container.ALIASES, "exists", "inspect", "prune"})
    verbs: Words = {
        "": [*VERBS, "--help", "--version"],
        "image": list(image.VERBS),
        "container": of_container,
        "system": ["service"],
    }
    leaves = [name for name in VERBS if name not in verbs]
    leaves += [f"{group} {verb}" for group in verbs if group for verb in verbs[group]]
    return verbs, {leaf: _options(leaf.split()) for leaf in leaves}


def _options(verb: list[str]) -> list[str]:
    """The options in the --help of a verb."""
    found: dict[str, None] = {}
    for line in _help(verb).splitlines():
        if re.match(r"\s+-", line):
            names, _, _ = line.strip().partition("  ")
            found.update(dict.fromkeys(re.findall(r"(?<![\w-])--?[A-Za-z][A-Za-z0-9-]*", names)))
    return list(found)


def _help(verb: list[str]) -> str:
    """What a verb writes for --help, be it to sys.stdout or to the descriptor."""
    from nsbuild.cli import dispatch

    sys.stdout.flush()
    saved, catch = os.dup(1), os.memfd_create("help")
    os.dup2(catch, 1)
    try:
        dispatch([*verb, "--help"])
    except SystemExit:
        # As argparse ends.
        pass
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)
    with open(catch, "rb") as file:
        file.seek(0)
        return file.read().decode()


def _asks(leaf: str) -> list[str]:
    """The commands that list what a verb takes."""
    group, _, verb = leaf.rpartition(" ")
    if verb in ("inspect", "exists"):
        return {"image": [_ASK_IMAGES], "container": [_ASK_CONTAINERS]}.get(
            group, [_ASK_CONTAINERS, _ASK_IMAGES]
        )
    if group == "image":
        return [_ASK_IMAGES] if verb in ("rm", "verify", "diff", *IMAGES) else []
    return [_ASK_CONTAINERS] * (verb in CONTAINERS) + [_ASK_IMAGES] * (verb in IMAGES)


def _cases(verbs: Words, options: Words) -> str:
    """The arms of a `case` that sets `words`, for shells of one syntax."""
    arms = [f"    '{group}') words='{' '.join(names)}' ;;" for group, names in verbs.items()]
    for leaf, names in options.items():
        asked = "; ".join(_asks(leaf))
        rest = f"else words=$({asked}); " if asked else ""
        arms.append(
            f"    '{leaf}') if [[ $current == -* ]]; then words='{' '.join(names)}'; {rest}fi ;;"
        )
    return "\n".join(arms)


_HEAD = """\
# Completes what is typed behind nsbuild. Made by `nsbuild completion {shell}`.
_nsbuild() {{
  local current={current} place={first} words=
  case $place in
    image|container|system) [[ {at} -gt {second} ]] && place="$place {next}" ;;
  esac
  [[ {at} -eq {begin} ]] && place=
  case $place in
{cases}
  esac
"""


def _bash(verbs: Words, options: Words) -> str:
    head = _HEAD.format(
        shell="bash",
        current="${COMP_WORDS[COMP_CWORD]}",
        first="${COMP_WORDS[1]}",
        next="${COMP_WORDS[2]}",
        at="$COMP_CWORD",
        begin=1,
        second=2,
        cases=_cases(verbs, options),
    )
    body = '  COMPREPLY=($(compgen -W "$words" -- "$current"))\n}\n'
    # A name with a colon is one word only where that does not separate words.
    return head + body + "complete -o default -F _nsbuild nsbuild\n"


def _zsh(verbs: Words, options: Words) -> str:
    head = _HEAD.format(
        shell="zsh",
        current="${words_typed[CURRENT]}",
        first="${words_typed[2]}",
        next="${words_typed[3]}",
        at="$CURRENT",
        begin=2,
        second=3,
        cases=_cases(verbs, options),
    ).replace("_nsbuild() {\n", '_nsbuild() {\n  local -a words_typed=("${words[@]}")\n')
    body = "  [[ -n $words ]] && compadd -- ${=words} || _files\n}\ncompdef _nsbuild nsbuild\n"
    return "#compdef nsbuild\n" + head + body


def _fish(verbs: Words, options: Words) -> str:
    from nsbuild.cli import VERBS

    lines = ["# Completes what is typed behind nsbuild. Made by `nsbuild completion fish`."]
    groups = [group for group in verbs if group]
    for name, (_, summary) in VERBS.items():
        text = summary.replace("'", "\\'")
        lines.append(f"complete -c nsbuild -n __fish_use_subcommand -f -a {name} -d '{text}'")
    for group in groups:
        alone = f"__fish_seen_subcommand_from {group}; and test (count (commandline -opc)) -eq 2"
        lines.append(f"complete -c nsbuild -n '{alone}' -f -a '{' '.join(verbs[group])}'")
    for leaf, names in options.items():
        first, _, second = leaf.partition(" ")
        seen = f'test (commandline -opc)[2] = "{first}"'
        if second:
            seen += f'; and test (commandline -opc)[3] = "{second}"'
        seen = f"test (count (commandline -opc)) -ge {2 + bool(second)}; and {seen}"
        for name in names:
            how = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            lines.append(f"complete -c nsbuild -n '{seen}' {how if len(name) > 1 else ''}")
        for ask in _asks(leaf):
            quoted = ask.replace("'", "\\'")
            names_wanted = f'{seen}; and not string match -q -- "-*" (commandline -ct)'
            lines.append(f"complete -c nsbuild -n '{names_wanted}' -a '({quoted})'")
    return "\n".join(lines) + "\n"
