"""From the body of a create request, Docker's or Podman's, to the words of `nsbuild create`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from nsbuild.service.body import Body
from nsbuild.service.errors import ApiError
from nsbuild.tuples import NamedTuple

_NETWORKS = {"none": "none", "host": "host"}
_USUAL_NETWORKS = ("", "default", "bridge", "private")
"""What clients say who want whatever network is usual here."""


class Creation(NamedTuple):
    """A container that is wanted: of which image, and the words behind `create`."""

    image: str
    options: list[str]
    command: list[str]


def from_docker(fields: object, name: str, network: str) -> Creation:
    """A body of Docker's; `network` is what those get who leave it to us. Raises ApiError."""
    body = Body(fields)
    host = body.inner("HostConfig")
    image = body.text("Image")
    if body.flag("NetworkDisabled"):
        network = "none"
    mounts = host.objects("Mounts")
    options = [
        *_named("name", name),
        *_environment(body.words("Env") or []),
        *_entrypoint(body.words("Entrypoint")),
        *_plain(body, user="User", workdir="WorkingDir", hostname="Hostname"),
        *_plain(body, domainname="Domainname"),
        *_flags(body, tty="Tty", interactive="OpenStdin"),
        *(f"--label={key}={value}" for key, value in body.table("Labels").items()),
        *_named("stop-signal", body.either("StopSignal")),
        *_number("stop-timeout", body.optional_number("StopTimeout")),
        *_flags(host, privileged="Privileged", rm="AutoRemove", read_only="ReadonlyRootfs"),
        *_each("cap-add", host.words("CapAdd")),
        *_each("cap-drop", host.words("CapDrop")),
        *(_bind(host, text) for text in host.words("Binds") or []),
        *(word for mount in mounts for word in _docker_mount(mount)),
        *(_tmpfs(path, how) for path, how in host.table("Tmpfs").items()),
        *_ulimits(host.objects("Ulimits"), "Name"),
        f"--network={_network(host, 'NetworkMode', host.text('NetworkMode'), network)}",
    ]
    _check_volumes(body, options)
    command = body.words("Cmd") or []
    # Every container has an init; which ends of it a client attaches to is up to its own requests.
    body.skip("AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce", "ExposedPorts")
    host.skip("Init", "ContainerIDFile", "ConsoleSize", "Runtime")
    host.skip(IpcMode=("private",), CgroupnsMode=("private",), Isolation=("default",))
    host.skip(RestartPolicy=({"Name": "no", "MaximumRetryCount": 0}, {"Name": "no"}))
    host.finish()
    body.finish()
    return Creation(image, options, command)


def from_podman(fields: object, network: str) -> Creation:
    """A body of Podman's (specgen.SpecGenerator), as `from_docker`."""
    body = Body(fields)
    netns = body.inner("netns")
    chosen = _network(netns, "nsmode", netns.text("nsmode"), network)
    netns.finish()
    stop_timeout = body.optional_number("stop_timeout")
    options = [
        *_named("name", body.text("name")),
        *(f"--env={key}={value}" for key, value in body.table("env").items()),
        *_each("unsetenv", body.words("unsetenv")),
        *_entrypoint(body.words("entrypoint")),
        *_plain(body, user="user", workdir="work_dir", hostname="hostname"),
        *_flags(body, tty="terminal", interactive="stdin", privileged="privileged"),
        *_flags(body, rm="remove", read_only="read_only_filesystem", env_host="env_host"),
        *(f"--label={key}={value}" for key, value in body.table("labels").items()),
        *_named("stop-signal", body.either("stop_signal")),
        *_number("stop-timeout", stop_timeout),
        *_number("timeout", body.number("timeout") or None),
        *_each("cap-add", body.words("cap_add")),
        *_each("cap-drop", body.words("cap_drop")),
        *(word for mount in body.objects("mounts") for word in _podman_mount(mount)),
        *_ulimits(body.objects("r_limits"), "type"),
        f"--network={chosen}",
    ]
    image = body.text("image")
    command = body.words("command") or []
    body.skip("init", "init_path", "raw_image_name", "containerCreateCommand", "httpproxy")
    body.skip(systemd=("false",), image_volume_mode=("anonymous",))
    body.skip(*(f"{kind}ns" for kind in ("ipc", "pid", "uts", "cgroup") if _is_own(body, kind)))
    body.finish()
    return Creation(image, options, command)


def _is_own(body: Body, kind: str) -> bool:
    return body.peek(f"{kind}ns") in ({"nsmode": "private"}, {"nsmode": "default"})


def _named(option: str, value: str) -> list[str]:
    return [f"--{option}={value}"] if value else []


def _number(option: str, value: int | None) -> list[str]:
    return [] if value is None else [f"--{option}={value}"]


def _each(option: str, values: list[str] | None) -> list[str]:
    return [f"--{option}={value}" for value in values or ()]


def _plain(body: Body, **fields: str) -> Iterator[str]:
    for option, name in fields.items():
        yield from _named(option, body.text(name))


def _flags(body: Body, **fields: str) -> Iterator[str]:
    for option, name in fields.items():
        if body.flag(name):
            yield f"--{option.replace('_', '-')}"


def _environment(texts: list[str]) -> Iterator[str]:
    for text in texts:
        # Without a value it would be taken from the service's own environment.
        yield f"--env={text}" if "=" in text else f"--unsetenv={text}"


def _entrypoint(words: list[str] | None) -> list[str]:
    if not words:
        return []
    return ["--entrypoint="] if words == [""] else [f"--entrypoint={json.dumps(words)}"]


def _ulimits(limits: list[Body], name: str) -> Iterator[str]:
    for limit in limits:
        kind = limit.text(name).upper().removeprefix("RLIMIT_").lower()
        yield f"--ulimit={kind}={limit.number('Soft')}:{limit.number('Hard')}"
        limit.finish()


def _network(body: Body, name: str, mode: str, usual: str) -> str:
    if mode in _USUAL_NETWORKS:
        return usual
    if mode not in _NETWORKS:
        raise body.bad(name, f"nsbuild has no network {mode!r}, it has: none, host")
    return _NETWORKS[mode]


def _docker_mount(mount: Body) -> Iterator[str]:
    kind, source, target = (mount.text(name) for name in ("Type", "Source", "Target"))
    options = ["ro"] if mount.flag("ReadOnly") else []
    mount.skip("Consistency")
    if kind == "tmpfs":
        how = mount.inner("TmpfsOptions")
        size, mode = how.number("SizeBytes"), how.number("Mode")
        options += [f"size={size}"] * bool(size) + [f"mode={mode:o}"] * bool(mode)
    else:
        how = mount.inner("BindOptions")
        how.skip(Propagation=("rprivate", "private"))
    how.finish()
    mount.finish()
    yield _mounted(mount, kind, source, target, options)


def _podman_mount(mount: Body) -> Iterator[str]:
    kind, source, target = (mount.text(name) for name in ("type", "source", "destination"))
    options = mount.words("options") or []
    mount.finish()
    yield _mounted(mount, kind, source, target, [o for o in options if o not in ("rbind", "bind")])


def _mounted(mount: Body, kind: str, source: str, target: str, options: list[str]) -> str:
    if kind == "tmpfs":
        return _tmpfs(target, ",".join(options))
    if kind != "bind":
        raise mount.bad("type", f"nsbuild has no mounts of type {kind!r}, it has: bind, tmpfs")
    return _bind(mount, ":".join([source, target, *[",".join(options)] * bool(options)]))


def _bind(body: Body, text: str) -> str:
    if not text.startswith("/"):
        raise body.bad("source", f"{text!r} is no absolute path, and nsbuild has no named volumes")
    return f"--volume={text}"


def _tmpfs(target: str, options: str) -> str:
    return f"--tmpfs={target}:{options}" if options else f"--tmpfs={target}"


def _check_volumes(body: Body, options: list[str]) -> None:
    """Clients list the targets of their binds here once more."""
    for target in body.keys("Volumes"):
        if not any(f"{word}:".find(f":{target}:") > 0 for word in options):
            raise ApiError(400, f"Volumes: nsbuild has no anonymous volumes, at {target}")
