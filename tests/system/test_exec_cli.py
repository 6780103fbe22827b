"""nsbuild exec as a command: exit codes, bytes in and out, environment, places, options."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.system.capabilities import needs, needs_tools
from tests.system.harness import EPOCH, TIMEOUT, Runner
from tests.system.leftovers import children, new_mark, none_marked


@pytest.mark.parametrize("code", [0, 1, 2, 77, 124, 125, 126, 127, 128, 200, 255])
def test_the_commands_exit_code_comes_through(ns: Runner, code: int) -> None:
    seen = ns.exec("sh", "-c", f"exit {code}")
    assert seen == (code, b"", b"")


def test_every_exit_code(root: Runner) -> None:
    codes = [root.exec("sh", "-c", f"exit {code}").code for code in range(0, 256, 5)]
    assert codes == list(range(0, 256, 5))


@pytest.mark.parametrize("name", ["TERM", "KILL", "INT", "HUP", "SEGV", "PIPE", "USR1"])
def test_a_signal_is_128_and_its_number(ns: Runner, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    seen = ns.exec("sh", "-c", f"ulimit -c 0; kill -{name} $$")
    assert seen == (128 + number, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_to_nsbuild_reach_the_command(ns: Runner, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 1; done"
    arguments = () if ns.is_root else ("--sched=other",)
    process = subprocess.Popen(
        ns.command("exec", *arguments, "/", "dash", "-c", script),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=ns.environment(),
        cwd=ns.directory(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    rest, _ = process.communicate(timeout=TIMEOUT)
    assert rest == f"got {name}\n".encode()
    assert process.returncode == 9


def test_stdin_and_stdout_are_byte_exact(ns: Runner) -> None:
    data = os.urandom(1 << 20)
    seen = ns.exec("cat", stdin=data).ok()
    assert seen.stdout == data
    assert ns.exec("cat", stdin=b"\r\n\0\x04\x1a\xff no newline").ok().stdout == (
        b"\r\n\0\x04\x1a\xff no newline"
    )


def test_stdin_is_empty_without_i(ns: Runner) -> None:
    """As with podman exec: what the caller's stdin holds stays out unless it is asked for."""
    arguments = () if ns.is_root else ("--sched=other",)
    command = ns.command("exec", *arguments, "/", "wc", "-c")
    assert ns.outside(command, stdin=b"12345").ok().text.strip() == "0"
    assert ns.exec("wc", "-c", stdin=b"12345").ok().text.strip() == "5"


def test_stderr_is_byte_exact_and_apart(ns: Runner) -> None:
    seen = ns.exec("sh", "-c", "printf 'out\\0'; printf 'err\\r\\377' >&2")
    assert seen == (0, b"out\0", b"err\r\xff")


def test_closed_streams(ns: Runner) -> None:
    """Started with stdin, stdout or all three closed, as some daemons do."""
    arguments = () if ns.is_root else ("--sched=other",)
    command = ns.command("exec", *arguments, "/", "sh", "-c", "exit 4")
    for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        assert ns.outside(["sh", "-c", f'"$@" {closing}', "sh", *command]).code == 4


def test_other_descriptors_do_not_get_in(ns: Runner) -> None:
    arguments = () if ns.is_root else ("--sched=other",)
    command = ns.command("exec", *arguments, "/", "sh", "-c", "ls /proc/self/fd; ls -l /proc/1/fd")
    seen = ns.outside(["sh", "-c", 'exec 9</etc/passwd; "$@"', "sh", *command])
    assert "passwd" not in seen.text
    assert seen.lines[:4] == ["0", "1", "2", "3"]
    assert len(seen.lines) < 5 or not seen.lines[4].isdigit()


def test_stdout_is_not_a_terminal_without_t(ns: Runner) -> None:
    assert ns.exec("sh", "-c", "test -t 0 || test -t 1 || test -t 2; echo $?").text == "1\n"


ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": str(EPOCH),
    "MAKEFLAGS": "-j1",
    "DEB_BUILD_OPTIONS": "parallel=1",
    "RPM_BUILD_NCPUS": "1",
    "CMAKE_BUILD_PARALLEL_LEVEL": "1",
    "CTEST_PARALLEL_LEVEL": "1",
    "CARGO_BUILD_JOBS": "1",
}


def environment_of(output: bytes) -> dict[str, str]:
    pairs = [entry.decode().partition("=") for entry in output.split(b"\0") if entry]
    return {name: value for name, _, value in pairs}


def test_the_default_environment_is_exactly_this(ns: Runner) -> None:
    seen = ns.exec("env", "-0", env={"FOO": "bar", "LC_ALL": "de_DE", "TZ": "Asia/Tokyo"}).ok()
    assert environment_of(seen.stdout) == ENVIRONMENT


def test_environment_options(ns: Runner) -> None:
    options = ["-e", "FROM_HOST", "-e", "GIVEN=a b=c", "--env", "TZ=CET", "-e", "ABSENT"]
    seen = ns.exec("env", "-0", options=options, env={"FROM_HOST": "x\ny"}).ok()
    expected = ENVIRONMENT | {"FROM_HOST": "x\ny", "GIVEN": "a b=c", "TZ": "CET"}
    assert environment_of(seen.stdout) == expected


def test_env_host_gives_the_callers_environment(ns: Runner) -> None:
    seen = ns.exec("env", "-0", options=["--env-host"], env={"FOO": "bar", "LC_ALL": "C"}).ok()
    told = environment_of(seen.stdout)
    assert told["FOO"] == "bar"
    assert told["LC_ALL"] == "C"
    assert told["HOME"] == str(ns.work)


def test_deb_build_options_are_merged(ns: Runner) -> None:
    options = ["-e", "DEB_BUILD_OPTIONS=nocheck noopt"]
    seen = environment_of(ns.exec("env", "-0", options=options).ok().stdout)
    assert set(seen["DEB_BUILD_OPTIONS"].split()) == {"nocheck", "noopt", "parallel=1"}


def test_source_date_epoch_follows_the_epoch(ns: Runner) -> None:
    seen = ns.exec("sh", "-c", "echo $SOURCE_DATE_EPOCH", options=["--epoch=1234567890"])
    assert seen.ok().text == "1234567890\n"


def test_umask(ns: Runner) -> None:
    arguments = () if ns.is_root else ("--sched=other",)
    command = ns.command("exec", *arguments, "/", "sh", "-c", "umask")
    for mask in ("000", "077"):
        seen = ns.outside(["sh", "-c", f'umask {mask}; exec "$@"', "sh", *command])
        assert seen.ok().text == "0022\n"


def test_the_working_directory_is_kept_and_writable(ns: Runner) -> None:
    cwd = ns.directory()
    seen = ns.exec("sh", "-c", "pwd; echo made >file; mkdir -p a/b; ls", cwd=cwd).ok()
    assert seen.lines == [str(cwd), "a", "file"]
    assert (cwd / "file").read_text() == "made\n"
    assert (cwd / "a/b").is_dir()


def test_a_working_directory_below_tmp(
    ns: Runner, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The container has a /tmp of its own; the one directory below it is there all the same."""
    made = subprocess.run(
        ["mktemp", "-d", "/tmp/tests-cwd-XXXXXX"], capture_output=True, check=True
    )
    path = made.stdout.decode().strip()
    try:
        os.chown(path, ns.account.uid, ns.account.gid)
        arguments = () if ns.is_root else ("--sched=other",)
        command = ns.command("exec", *arguments, "/", "sh", "-c", "pwd; echo x >file; ls /tmp")
        done = subprocess.run(
            command,
            cwd=path,
            env=ns.environment(),
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        )
        assert done.stdout.decode().split() == [path, os.path.basename(path)]
        assert os.listdir(path) == ["file"]
    finally:
        subprocess.run(["rm", "-rf", path], check=True)


def test_the_rest_of_the_host_is_thrown_away(ns: Runner) -> None:
    """Written, changed and removed inside, for the container only.

    Directly in /var/tmp: a user's container has no number for the staging directory's owner, and
    overlayfs copies up no directory whose owner it cannot write down.
    """
    host = Path(tempfile.mkdtemp(prefix="tests-host-", dir="/var/tmp"))
    os.chown(host, ns.account.uid, ns.account.gid)
    try:
        _written_and_thrown_away(ns, host)
    finally:
        shutil.rmtree(host)


def _written_and_thrown_away(ns: Runner, host: Path) -> None:
    for name in ("changed", "removed"):
        (host / name).write_text("of the host\n")
        os.chown(host / name, ns.account.uid, ns.account.gid)
    script = 'cd "$1" && echo x >made && echo x >>changed && rm removed && cat made changed && ls'
    seen = ns.exec("sh", "-c", script, "sh", str(host)).ok()
    assert seen.lines == ["x", "of the host", "x", "changed", "made"]
    assert sorted(os.listdir(host)) == ["changed", "removed"]
    assert (host / "changed").read_text() == "of the host\n"


def test_tmp_and_run_are_fresh(ns: Runner) -> None:
    assert ns.exec("ls", "-A", "/tmp").ok().text == ""
    assert ns.exec("ls", "-A", "/run", "/dev/shm").ok().text == "/dev/shm:\n\n/run:\nlock\n"
    assert ns.exec("stat", "-c", "%a", "/tmp", "/dev/shm").ok().lines == ["1777", "1777"]


def test_dev_is_minimal(ns: Runner) -> None:
    names = set(ns.exec("ls", "/dev").ok().text.split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "ptmx"} <= names
    assert {"fd", "stdin", "stdout", "stderr"} <= names
    assert not {"kmsg", "mem", "fuse", "vda", "sda", "loop0"} & names
    script = "echo x >/dev/null; head -c 3 /dev/zero | od -An -tx1; echo x >/dev/full"
    seen = ns.exec("sh", "-c", script)
    assert seen.text == " 00 00 00\n"
    assert seen.code != 0


def test_sys_is_read_only(ns: Runner) -> None:
    assert ns.exec("sh", "-c", "mkdir /sys/x 2>/dev/null; ls /sys/kernel >/dev/null").code == 0
    options = next(
        line for line in ns.exec("cat", "/proc/mounts").ok().lines if line.split()[1] == "/sys"
    )
    assert "ro" in options.split()[3].split(",")


def test_workdir_option(ns: Runner) -> None:
    assert ns.exec("pwd", options=["-w", "/usr/share"]).ok().text == "/usr/share\n"
    assert ns.exec("pwd", options=["--workdir=/usr"]).ok().text == "/usr\n"


@pytest.mark.parametrize(
    ("value", "ids"), [("daemon", "1 1"), ("1", "1 1"), ("daemon:mail", "1 8"), ("7:9", "7 9")]
)
def test_user_option(ns: Runner, value: str, ids: str) -> None:
    assert ns.exec("sh", "-c", "echo $(id -u) $(id -g)", options=["-u", value]).ok().text == (
        ids + "\n"
    )


def test_user_option_sets_home_and_user(ns: Runner) -> None:
    seen = environment_of(ns.exec("env", "-0", options=["--user", "daemon"]).ok().stdout)
    assert (seen["USER"], seen["HOME"]) == ("daemon", "/usr/sbin")


def test_volumes(ns: Runner) -> None:
    source = ns.directory()
    (source / "file").write_text("from the host\n")
    options = ["-v", f"{source}:/mnt:ro", "-v", f"{source}:/opt:rw", "-v", f"{source}:/srv"]
    script = "cat /mnt/file; (echo x >/mnt/no) 2>/dev/null || echo refused; echo x >/opt/a; ls /srv"
    seen = ns.exec("sh", "-c", script, options=options).ok().lines
    assert seen == ["from the host", "refused", "a", "file"]
    assert (source / "a").exists()


def test_a_volume_of_one_file(ns: Runner) -> None:
    source = ns.directory() / "file"
    source.write_text("one\n")
    seen = ns.exec("cat", "/etc/hostname", options=["-v", f"{source}:/etc/hostname:ro"])
    assert seen.ok().text == "one\n"


def test_tmpfs_option(ns: Runner) -> None:
    script = "ls -A /mnt; head -c 2M /dev/zero >/mnt/file; stat -c %s /mnt/file"
    seen = ns.exec("sh", "-c", script, options=["--tmpfs", "/mnt:size=1m"])
    assert seen.lines == [str(1 << 20)]
    assert b"No space left on device" in seen.stderr


def test_a_volume_below_a_tmpfs_and_one_below_a_volume(ns: Runner) -> None:
    inner, outer = ns.directory(), ns.directory()
    (inner / "inner").touch()
    (outer / "below").mkdir()
    (outer / "outer").touch()
    volumes = [f"--volume={inner}:/mnt/below", f"--volume={inner}:/opt/below"]
    options = [*volumes, "--tmpfs=/mnt", f"--volume={outer}:/opt"]
    seen = ns.exec("ls", "/mnt", "/mnt/below", "/opt", "/opt/below", options=options).ok().text
    assert seen == (
        "/mnt:\nbelow\n\n/mnt/below:\ninner\n\n/opt:\nbelow\nouter\n\n/opt/below:\ninner\n"
    )


def test_read_only_option(ns: Runner) -> None:
    script = "(echo x >/etc/x) 2>/dev/null || echo refused; echo x >/tmp/x && echo tmp"
    assert ns.exec("sh", "-c", script, options=["--read-only"]).ok().lines == ["refused", "tmp"]


def test_no_network_but_lo(ns: Runner) -> None:
    assert ns.exec("ls", "/sys/class/net").ok().text == "lo\n"
    script = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].send(b"up")
print(client.recv(2).decode(), [name for _, name in socket.if_nameindex()])
"""
    assert ns.exec("/usr/bin/python3", "-c", script).ok().text == "up ['lo']\n"


def test_the_hosts_network_when_asked(ns: Runner) -> None:
    script = "import socket; print(sorted(name for _, name in socket.if_nameindex()))"
    outside = ns.bare("/usr/bin/python3", "-c", script).text
    assert ns.exec("/usr/bin/python3", "-c", script, options=["--network=host"]).text == outside


def test_options_end_at_the_target(ns: Runner) -> None:
    assert ns.exec("echo", "--debug", "-t", "--", "-e").ok().text == "--debug -t -- -e\n"


def test_a_command_by_name_and_by_path(ns: Runner) -> None:
    assert ns.exec("true").code == ns.exec("/bin/true").code == 0
    cwd = ns.directory()
    (cwd / "mine").write_text("#!/bin/sh\necho mine $0 $1\n")
    (cwd / "mine").chmod(0o755)
    assert ns.exec("./mine", "x", cwd=cwd).ok().text == "mine ./mine x\n"


def test_a_script_without_a_first_line_is_the_shells(ns: Runner) -> None:
    """As execvp(3) has it, and so chroot."""
    cwd = ns.directory()
    (cwd / "plain").write_text("echo plain $1\n")
    (cwd / "plain").chmod(0o755)
    assert ns.exec("./plain", "x", cwd=cwd).ok().text == "plain x\n"


def test_debug_prints_the_plan_on_stderr(ns: Runner) -> None:
    seen = ns.exec("echo", "out", options=["--debug"])
    assert (seen.code, seen.text) == (0, "out\n")
    assert len(seen.stderr.splitlines()) > 5
    assert b"/proc" in seen.stderr


def test_trace_names_each_answer(ns: Runner) -> None:
    cwd = ns.directory()
    ns.exec("sh", "-c", "date; od -An -N4 /dev/urandom", options=["--trace=t"], cwd=cwd).ok()
    first = (cwd / "t").read_text()
    assert "clock_gettime" in first
    again = ns.directory()
    ns.exec("sh", "-c", "date; od -An -N4 /dev/urandom", options=["--trace=t"], cwd=again).ok()
    assert (again / "t").read_text() == first


def test_a_root_directory(root: Runner) -> None:
    """A target that is a directory with a program of its own in it."""
    needs_tools("busybox")
    linked = subprocess.run(["ldd", "/usr/bin/busybox"], capture_output=True, check=False)
    needs("a static busybox", linked.returncode != 0 or b"statically" in linked.stdout)
    target = root.directory("target-")
    for name in ("bin", "proc", "sys", "dev", "tmp", "run", "etc"):
        (target / name).mkdir()
    (target / "bin/sh").write_bytes(Path("/usr/bin/busybox").read_bytes())
    (target / "bin/sh").chmod(0o755)
    seen = root.exec("/bin/sh", "-c", "pwd; echo $$; echo x >/made", target=str(target)).ok()
    assert seen.lines == ["/", "2"]
    assert (target / "made").read_text() == "x\n"


def test_nothing_of_the_command_is_left_when_nsbuild_is_interrupted(ns: Runner) -> None:
    mark = new_mark()
    arguments = () if ns.is_root else ("--sched=other",)
    process = subprocess.Popen(
        ns.command("exec", *arguments, "/", "dash", "-c", "while :; do date; done"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=ns.environment() | mark,
        cwd=ns.directory(),
    )
    while not children(process.pid):
        time.sleep(0.01)
    time.sleep(0.5)
    process.terminate()
    assert process.wait(TIMEOUT) == 128 + signal.SIGTERM
    assert none_marked(mark)
