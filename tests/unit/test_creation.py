"""What clients' requests to create a container become, and what of them is refused in words."""

from __future__ import annotations

import pytest

from nsbuild.service.creation import from_docker, from_podman
from nsbuild.service.errors import ApiError

V2_DOCKER = {
    "Hostname": None,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "AttachStdin": False,
    "AttachStdout": True,
    "AttachStderr": True,
    "Env": ["A=b c", "EMPTY="],
    "Cmd": ["bash", "-c", "true"],
    "Image": "sha256:abc",
    "NetworkDisabled": False,
    "HostConfig": {
        "Privileged": True,
        "NetworkMode": "default",
        "Init": True,
        "Mounts": [{"type": "bind", "source": "/dev/zero", "target": "/dev/zero"}],
    },
}
"""What qubes-builder v2 has docker-py send: with the names of a mount in small letters."""
V2_PODMAN = {
    "command": ["bash", "-c", "true"],
    "env": {"A": "b c"},
    "image": "sha256:abc",
    "init": True,
    "privileged": True,
    "mounts": [{"destination": "/dev/zero", "source": "/dev/zero", "type": "bind", "options": []}],
    "cni_networks": [None],
    "resource_limits": {"cpu": {"cpus": None}, "pids": {"limit": None}},
    "log_configuration": {},
}


def test_what_qubes_builder_sends() -> None:
    wanted = from_docker(V2_DOCKER, "", "none")
    assert wanted.image == "sha256:abc"
    assert wanted.command == ["bash", "-c", "true"]
    assert wanted.options == [
        "--env=A=b c",
        "--env=EMPTY=",
        "--privileged",
        "--volume=/dev/zero:/dev/zero",
        "--network=none",
    ]
    wanted = from_podman(V2_PODMAN, "host")
    assert wanted.command == ["bash", "-c", "true"]
    assert wanted.options == [
        "--env=A=b c",
        "--privileged",
        "--volume=/dev/zero:/dev/zero",
        "--network=host",
    ]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"User": "1000:1000", "WorkingDir": "/w"}, ["--user=1000:1000", "--workdir=/w"]),
        ({"Tty": True, "OpenStdin": True}, ["--tty", "--interactive"]),
        ({"Entrypoint": ["/a", "b c"]}, ['--entrypoint=["/a", "b c"]']),
        ({"Entrypoint": [""]}, ["--entrypoint="]),
        ({"Entrypoint": []}, []),
        ({"Env": ["GONE"]}, ["--unsetenv=GONE"]),
        ({"Labels": {"a": "b"}, "StopSignal": "INT"}, ["--label=a=b", "--stop-signal=INT"]),
        ({"StopTimeout": 0}, ["--stop-timeout=0"]),
        ({"Volumes": {"/in": {}}, "HostConfig": {"Binds": ["/a:/in:ro"]}}, ["--volume=/a:/in:ro"]),
        ({"HostConfig": {"ReadonlyRootfs": True, "AutoRemove": True}}, ["--rm", "--read-only"]),
        ({"HostConfig": {"CapAdd": ["A"], "CapDrop": ["B"]}}, ["--cap-add=A", "--cap-drop=B"]),
        (
            {"HostConfig": {"Tmpfs": {"/t": "size=1m", "/u": ""}}},
            ["--tmpfs=/t:size=1m", "--tmpfs=/u"],
        ),
        (
            {"HostConfig": {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}},
            ["--ulimit=nofile=1:2"],
        ),
        (
            {"HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/t", "ReadOnly": True}]}},
            ["--tmpfs=/t:ro"],
        ),
        ({"HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}}, []),
        ({"HostConfig": {"MemorySwappiness": -1, "Memory": 0, "IpcMode": "private"}}, []),
    ],
)
def test_dockers_fields(more: dict[str, object], words: list[str]) -> None:
    assert from_docker({"Image": "i", **more}, "", "none").options == [*words, "--network=none"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"name": "n", "user": "u", "work_dir": "/w"}, ["--name=n", "--user=u", "--workdir=/w"]),
        ({"terminal": True, "stdin": True, "remove": True}, ["--tty", "--interactive", "--rm"]),
        ({"entrypoint": ["/a"]}, ['--entrypoint=["/a"]']),
        ({"stop_signal": 9, "stop_timeout": 3}, ["--stop-signal=9", "--stop-timeout=3"]),
        ({"timeout": 7, "unsetenv": ["X"]}, ["--unsetenv=X", "--timeout=7"]),
        ({"r_limits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]}, ["--ulimit=core=0:0"]),
        (
            {"mounts": [{"type": "bind", "source": "/a", "destination": "/b", "options": ["ro"]}]},
            ["--volume=/a:/b:ro"],
        ),
        ({"mounts": [{"type": "tmpfs", "destination": "/t"}]}, ["--tmpfs=/t"]),
        ({"ipcns": {"nsmode": "private"}, "systemd": "false"}, []),
    ],
)
def test_podmans_fields(more: dict[str, object], words: list[str]) -> None:
    assert from_podman({"image": "i", **more}, "none").options == [*words, "--network=none"]


def test_networks() -> None:
    def docker(mode: str) -> str:
        return from_docker({"HostConfig": {"NetworkMode": mode}}, "", "host").options[-1]

    assert [docker(mode) for mode in ("", "bridge", "none")] == [
        "--network=host",
        "--network=host",
        "--network=none",
    ]
    assert from_docker({"NetworkDisabled": True}, "", "host").options == ["--network=none"]
    assert from_podman({"netns": {"nsmode": "host"}}, "none").options == ["--network=host"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "the body: not a JSON object"),
        ({"Cmd": 1}, "Cmd: not a list of texts"),
        ({"Tty": "yes"}, "Tty: not true or false"),
        ({"StopTimeout": True}, "StopTimeout: not a whole number"),
        ({"HostConfig": []}, "HostConfig: not an object"),
        ({"HostConfig": {"Memory": 5}}, "HostConfig.Memory: nsbuild has nothing of the kind"),
        ({"HostConfig": {"NetworkMode": "container:x"}}, "has no network 'container:x'"),
        ({"HostConfig": {"Binds": ["name:/in"]}}, "no named volumes"),
        ({"HostConfig": {"Binds": ["../a:/in"]}}, "no absolute path"),
        ({"HostConfig": {"Mounts": [{"Type": "volume", "Target": "/t"}]}}, "of type 'volume'"),
        ({"HostConfig": {"Mounts": [{"Type": "bind", "More": 1}]}}, "Mounts[0].More"),
        ({"HostConfig": {"RestartPolicy": {"Name": "always"}}}, "RestartPolicy"),
        ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}}, "PortBindings"),
        ({"Volumes": {"/data": {}}}, "anonymous volumes"),
        ({"Healthcheck": {"Test": ["CMD", "true"]}}, "Healthcheck"),
    ],
)
def test_what_is_refused(body: object, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        from_docker(body, "", "none")
    assert caught.value.status == 400
    assert words in caught.value.message


@pytest.mark.parametrize("name", ["pod", "userns", "secrets", "portmappings", "restart_policy"])
def test_what_is_refused_of_podmans(name: str) -> None:
    with pytest.raises(ApiError, match=name):
        from_podman({"image": "i", name: ["x"]}, "none")
