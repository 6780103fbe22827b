"""A root of layers: the same values whatever store, file system and upper directory it has."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.system.capabilities import needs
from tests.system.containerbox import IMAGE, ContainerBox, box, write_tarball
from tests.system.harness import Runner, burn_pids, load, next_second

__all__ = ["box"]

PROBE = """\
ls -lai --full-time / /etc /usr/share
echo more:x:9:9::/:/bin/sh >> /etc/passwd; echo new > /etc/new; mkdir /usr/share/dir
ln /etc/new /etc/hard
mv /usr/share/words /usr/share/dir/words; rm /etc/group; chmod 600 /etc/passwd
touch /tmp/now; touch -d '2001-02-03 04:05:06' /tmp/old
ls -lai --full-time / /etc /usr/share /usr/share/dir /tmp
stat -c '%n %i %Y %Z %h %s %d' / /etc /etc/passwd /etc/new /usr/share/dir/words
date +%s; echo $$; od -An -N8 -tx1 /dev/urandom; cat /etc/passwd
"""


def _bare(tarball: Path, place: Path) -> str:
    """The probe in a plain chroot, without the devices that a bare directory lacks."""
    place.mkdir()
    subprocess.run(["tar", "-xf", tarball, "-C", place], check=True, timeout=60)
    script = PROBE.replace("od -An -N8 -tx1 /dev/urandom; ", "")
    command = ["unshare", "--user", "--map-root-user", "chroot", str(place), "/bin/sh", "-c"]
    done = subprocess.run([*command, script], capture_output=True, check=True, timeout=60)
    return done.stdout.decode()


def test_the_same_on_another_file_system(ns: Runner, tmp_path: Path) -> None:
    needs("/dev/shm", Path("/dev/shm").is_dir())
    memory = Path(tempfile.mkdtemp(prefix="store-place-", dir="/dev/shm"))
    memory.chmod(0o777)
    try:
        first = ContainerBox(ns).run(PROBE).ok()
        burn_pids()
        next_second(time.time())
        with load():
            second = ContainerBox(ns, memory).run(PROBE).ok()
    finally:
        shutil.rmtree(memory)
    assert first.text == second.text
    assert "2015-12-22 15:26" in first.text
    tarball = tmp_path / "image.tar"
    write_tarball(tarball)
    plain = _bare(tarball, tmp_path / "first")
    next_second(time.time())
    assert _bare(tarball, tmp_path / "second") != plain, "the probe finds nothing bare either"


def test_writes_are_the_containers_own(box: ContainerBox) -> None:
    assert box.run("echo x > /etc/passwd; rm -r /usr; ls /").ok().lines.count("usr") == 0
    assert box.run("wc -l < /etc/passwd; ls /usr/share").ok().lines == ["2", "words"]


def test_what_a_container_leaves_has_virtual_times(box: ContainerBox) -> None:
    """Also what it has only changed, or removed: an overlay copies those up first."""
    box.ok("run", "--name=c", IMAGE, "sh", "-c", "echo x >> /etc/passwd; echo y > /y; rm /bin/yes")
    upper = Path(box.ok("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", "c").text.strip())
    listed = box.ns.outside(
        [*box.ns.account.prefix, "find", str(upper), "-not", "-type", "c", "-printf", "%P %TY\n"]
    )
    years = dict(line.rsplit(" ", 1) for line in listed.ok().lines)
    # Nothing was made in /etc, which has only been copied up with what it had.
    assert years == {"": "2015", "bin": "2015", "etc": "2011", "etc/passwd": "2015", "y": "2015"}


def test_a_commit_is_one_image_on_every_day(box: ContainerBox) -> None:
    script = "echo x > /new; echo y >> /etc/passwd; rm /bin/yes; mkdir -p /a/b; od -N9 /dev/urandom"
    found = set()
    for name in ("first", "second"):
        options = [f"--name={name}", "-v", f"{box.ns.directory()}:/made/by/mount"]
        box.ok("run", *options, IMAGE, "sh", "-c", script)
        found.add(box.ok("commit", name, f"made-{name}").text)
        next_second(time.time())
    assert len(found) == 1
    assert box.ok("run", "--rm", "made-first", "cat", "/new").text == "x\n"
    assert box("run", "--rm", "made-second", "yes").code == 127


def test_read_only(box: ContainerBox) -> None:
    seen = box.run("touch /x; touch /etc/x; echo y > /tmp/y; cat /tmp/y", ["--rm", "--read-only"])
    assert seen.lines == ["y"]
    assert seen.stderr.decode().count("Read-only file system") == 2


def test_a_layer_that_is_gone_is_named(box: ContainerBox) -> None:
    box.ok("create", "--name=c", IMAGE, "true")
    layers = box.ok("inspect", "--format", "{{.GraphDriver.Data.LowerDir}}", "c").text.strip()
    shutil.rmtree(layers, ignore_errors=True)
    needs("a store that we may damage", not Path(layers).exists())
    seen = box("start", "c")
    assert seen.code == 125
    assert f"cannot use '{layers}' as a layer: No such file or directory" in seen.stderr.decode()
