"""nsbuild image bootstrap: a Debian image by mmdebstrap, the same from the same packages.

mmdebstrap runs in a container on the machine's own root, with the network, and what it packs
becomes the only layer of an image. Its clock begins at the date of the suite's Release file: apt
would refuse that file earlier, and every later moment would only be one more thing that differs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from nsbuild.cli import values
from nsbuild.cli.output import write_image_id
from nsbuild.cli.podman import PodmanParser, begin
from nsbuild.cli.progress import Progress
from nsbuild.cli.rules import Options
from nsbuild.cli.sameness import add_determinism
from nsbuild.cli.settings import DEFAULTS, Settings
from nsbuild.container.environment import compose
from nsbuild.container.epochs import release_date
from nsbuild.container.front import run_container
from nsbuild.container.spec import CommandSpec, ContainerSpec, RootSpec, Volume
from nsbuild.errors import NsbuildError
from nsbuild.images import reference
from nsbuild.images.documents import EPOCH_LABEL
from nsbuild.images.store import Store

_INSIDE = "/build"
_ARCHIVE = "root.tar"
_PATIENCE = 60
"""Seconds for the Release file to come."""
_LONGEST_RELEASE = 1 << 20


def make_parser() -> PodmanParser:
    """The parser of `image bootstrap`."""
    parser = PodmanParser(
        "image bootstrap",
        "[OPTIONS]",
        "Make a Debian image of packages from a mirror, by mmdebstrap; prints its id.",
    )
    add = parser.add_argument
    add("--suite", default="bookworm", help="(bookworm)")
    add("--variant", default="minbase", help="which packages to begin with (minbase)")
    add("--include", metavar="PACKAGES", action="append", default=[], help="and these")
    add("--components", metavar="NAMES", default="main", help="(main)")
    add("--mirror", metavar="URL", help="where packages come from (as apt has it on this machine)")
    add("--snapshot", metavar="TIME", help="URL/TIME: that of an archive of snapshots")
    add("-t", "--tag", metavar="NAME", action="append", default=[], help="(debian:SUITE)")
    add("--iidfile", metavar="FILE", help="write the image's id to FILE")
    add("-q", "--quiet", action="store_true", help="say nothing but the result")
    add_determinism(parser, leave_out=("state",))
    return parser


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    begin()
    options = make_parser().parse_args(arguments)
    mirror = _mirror(options)
    packages = [name for text in options.include for name in re.split(r"[\s,]+", text) if name]
    checks = [("--suite", options.suite), ("--variant", options.variant)]
    for option, text in (*checks, *(("--include", name) for name in packages)):
        values.pattern(option, text, r"[A-Za-z0-9][A-Za-z0-9.+:~_-]*", "a name")
    components = " ".join(re.split(r"[\s,]+", options.components.strip()))
    values.pattern("--components", components, r"[a-z0-9 -]+", "a list of components")
    names = tuple(map(reference.local, options.tag or [f"debian:{options.suite}"]))
    store = Store.default()
    with Progress(options.quiet) as progress:
        store.say, store.advance = progress.say, progress.advance
        epoch = _epoch(options, mirror, progress)
        command = [
            *("mmdebstrap", "--mode=root", f"--variant={options.variant}"),
            *(["--include", ",".join(packages)] if packages else []),
            *([] if not options.snapshot else ["--aptopt=Acquire::Check-Valid-Until false"]),
            # mmdebstrap leaves this machine's there, and its mode. Who runs the image brings one.
            '--customize-hook=: >"$1/etc/resolv.conf"; chmod 0644 "$1/etc/resolv.conf"',
            *("--quiet", options.suite, f"{_INSIDE}/{_ARCHIVE}"),
            f"deb {mirror} {options.suite} {components}",
        ]
        image_id = _make(store, options, command, epoch, names, progress)
    if options.iidfile:
        write_image_id(options.iidfile, image_id)
    sys.stdout.write(f"{image_id}\n")
    return 0


def _mirror(options: argparse.Namespace) -> str:
    asked = options.mirror
    if options.snapshot and not asked:
        raise NsbuildError("--snapshot needs an archive of snapshots", "name it by --mirror")
    mirror = asked or _mirror_of_apt(options.suite)
    values.pattern("--mirror", mirror, r"(https?|file)://[\x21-\x7e]+", "an address")
    mirror = mirror.rstrip("/")
    if not options.snapshot:
        return mirror
    when = values.pattern("--snapshot", options.snapshot, r"\d{8}T\d{6}Z", "20260101T000000Z")
    return f"{mirror}/{when}"


def _mirror_of_apt(suite: str) -> str:
    """Where apt takes `suite` from on this machine."""
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        done = None
    lines = done.stdout.splitlines() if done else []
    found = (line.partition(" ")[2] for line in lines if line.split(" ")[0] == suite)
    mirror = next(found, "")
    if not mirror:
        raise NsbuildError(f"apt takes {suite} from nowhere on this machine", "give a --mirror")
    return mirror


def _epoch(options: argparse.Namespace, mirror: str, progress: Progress) -> str:
    """When the clock begins: as asked, or at the date of the suite's Release file."""
    asked = Settings({"epoch": options.epoch})["epoch"]
    if asked.value is not None:
        return str(values.epoch(asked.origin, asked.value))
    address = f"{mirror}/dists/{options.suite}/Release"
    progress.say(f"Getting {address}")
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE) as answer:
            date = release_date(answer.read(_LONGEST_RELEASE))
    except (urllib.error.URLError, OSError) as error:
        raise NsbuildError(f"cannot get {address}: {error}", "see --mirror and --suite") from error
    if date is None:
        raise NsbuildError(f"{address} has no date", "give the time by --epoch")
    return str(date)


def _make(
    store: Store,
    options: argparse.Namespace,
    command: list[str],
    epoch: str,
    names: tuple[str, ...],
    progress: Progress,
) -> str:
    """Run mmdebstrap and make an image of what it has packed; returns the id."""
    try:
        with store.place.workshop() as shop:
            # Called so, it is removed as the files of an image are, whoever they belong to.
            place = shop.at("tree")
            os.mkdir(place)
            # Whatever the umask is: apt's own user has to come through it, or apt does without one.
            os.chmod(place, 0o755)
            progress.say(f"Running {' '.join(command)}")
            code = run_container(_spec(options, command, epoch, place))
            if code:
                raise NsbuildError(
                    f"mmdebstrap has failed with exit status {code}",
                    "see its messages above; it must be installed here, with the suite's keys",
                )
            layer = store.add_archive(os.path.join(place, _ARCHIVE))
            return store.commit([layer], _config(int(epoch), command), names, unpack=True).id
    finally:
        store.close()


def _spec(options: argparse.Namespace, command: list[str], epoch: str, place: str) -> ContainerSpec:
    given = vars(options)
    own = {name: given.get(name.replace("-", "_")) for name in DEFAULTS}
    chosen = Options(Settings({**own, "epoch": epoch, "state": ""}), "/")
    base = chosen.environment()
    return ContainerSpec(
        root=RootSpec(
            target="/",
            writable_cwd="/",
            volumes=(Volume(place, _INSIDE),),
            network="host",
            identity=chosen.identity,
            boot_time=chosen.epoch,
            cpu_model=chosen.cpu_model,
        ),
        # The files of the root in the making are on the disk, too: a memory may be too small.
        command=CommandSpec(
            tuple(command), compose(base, {}, dict.fromkeys(("HOME", "TMPDIR"), _INSIDE)), _INSIDE
        ),
        scheduling=chosen.scheduling(),
        rules=chosen.rules(),
        profile=chosen.profile(),
    )


def _config(epoch: int, command: list[str]) -> dict[str, Any]:
    """The image's config; the mirror is no part of it, since others give the same packages."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["bash"],
            "Labels": {EPOCH_LABEL: str(epoch)},
        },
        "history": [{"created": created, "created_by": " ".join(command[:-2])}],
    }
