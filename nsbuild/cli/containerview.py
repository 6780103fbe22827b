"""What `inspect` shows of a container, under the names that Podman has for it."""

from __future__ import annotations

import os
from typing import Any

from nsbuild.cli.containers import open_records
from nsbuild.cli.ps import shown_state
from nsbuild.cli.runvalues import CAPABILITIES
from nsbuild.cli.spans import stamp
from nsbuild.container.network import PREFIX, hardware_address, is_private
from nsbuild.container.records import RUNNING, Record, Records
from nsbuild.container.session import LOG
from nsbuild.container.spec import ContainerSpec
from nsbuild.container.specjson import decode
from nsbuild.determinism.clock import NSEC_PER_SEC
from nsbuild.errors import NsbuildError


def find_container(name: str) -> dict[str, Any] | None:
    """What is shown of the container `name`; None where there is none."""
    records = open_records()
    try:
        return describe(records, records.find(name))
    except NsbuildError:
        return None
    finally:
        records.close()


def latest_name() -> str:
    """The id of the container that was made last; raises NsbuildError where there is none."""
    records = open_records()
    try:
        found = records.all()
    finally:
        records.close()
    if not found:
        raise NsbuildError("inspect: no containers exist: no such container")
    return found[-1].id


def describe(records: Records, record: Record) -> dict[str, Any]:
    """The document that stands for a container."""
    spec = decode(record.spec)
    facts = record.facts
    argv = spec.command.argv
    return {
        "Id": record.id,
        "Created": stamp(record.created),
        "Path": argv[0],
        "Args": list(argv[1:]),
        "State": _state(record),
        "Image": record.image_id,
        "ImageName": record.image,
        "Rootfs": facts["rootfs"],
        "Pod": "",
        "StaticDir": records.directory(record.id),
        "OCIRuntime": "nsbuild",
        "Name": record.name,
        "RestartCount": 0,
        "Driver": "overlay",
        "EffectiveCaps": _capabilities(spec),
        "BoundingCaps": _capabilities(spec),
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                "LowerDir": ":".join(spec.root.layers[::-1]),
                "UpperDir": spec.root.target,
                "WorkDir": spec.root.work,
            },
        },
        "Mounts": _mounts(spec),
        "Config": _config(spec, facts, record),
        "HostConfig": _host_config(spec, facts, records.directory(record.id)),
        **_network_settings(spec),
        "Nsbuild": _determinism(spec),
    }


def _state(record: Record) -> dict[str, Any]:
    return {
        "Status": shown_state(record),
        "Running": record.state == RUNNING,
        "Paused": False,
        "Restarting": False,
        "Dead": False,
        "Pid": record.pid,
        "ExitCode": record.code,
        "Error": "",
        "StartedAt": stamp(record.started),
        "FinishedAt": stamp(record.finished),
    }


def _capabilities(spec: ContainerSpec) -> list[str]:
    bounding = spec.command.bounding
    numbers = range(len(CAPABILITIES)) if bounding is None else bounding
    return sorted(f"CAP_{CAPABILITIES[number]}" for number in numbers)


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    root = spec.root
    found = [
        {
            "Type": "bind",
            "Source": volume.source,
            "Destination": volume.target,
            "Driver": "",
            "Mode": "",
            "Options": ["rbind"],
            "RW": not volume.read_only,
            "Propagation": "rprivate",
        }
        for volume in root.volumes
    ]
    found.extend(
        {
            "Type": "volume",
            "Name": "",
            "Source": volume.source,
            "Destination": volume.target,
            "Driver": "local",
            "Mode": "",
            "Options": [],
            "RW": True,
            "Propagation": "",
        }
        for volume in root.kept
    )
    return found


def _config(spec: ContainerSpec, facts: dict[str, Any], record: Record) -> dict[str, Any]:
    command = spec.command
    return {
        "Hostname": spec.root.identity.hostname,
        "Domainname": "",
        "User": command.user or "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": command.tty,
        "OpenStdin": command.interactive,
        "StdinOnce": False,
        "Env": [f"{name}={value}" for name, value in command.environment.items()],
        "Cmd": facts["command"] or None,
        "Image": record.image,
        "Volumes": None,
        "WorkingDir": command.workdir,
        "Entrypoint": " ".join(facts["entrypoint"]),
        "Labels": facts["labels"] or None,
        "StopSignal": facts["stop_signal"],
        "CreateCommand": facts["create_command"],
        "Umask": "0022",
        "Timeout": int(facts["timeout"] or 0),
        "StopTimeout": int(facts["stop_timeout"]),
    }


def _host_config(spec: ContainerSpec, facts: dict[str, Any], directory: str) -> dict[str, Any]:
    import resource

    root = spec.root
    names = {n: f"RLIMIT_{k[7:]}" for k, n in vars(resource).items() if k.startswith("RLIMIT_")}
    binds = (f"{v.source}:{v.target}:{'ro' if v.read_only else 'rw'}" for v in root.volumes)
    return {
        "Binds": [f"{bind},rprivate,rbind" for bind in binds],
        "ContainerIDFile": facts["cidfile"],
        "LogConfig": {"Type": "k8s-file", "Path": os.path.join(directory, LOG)},
        "NetworkMode": root.network,
        "AutoRemove": facts["rm"],
        "IpcMode": "private",
        "PidMode": "private",
        "UTSMode": "private",
        "Privileged": facts["privileged"],
        "ReadonlyRootfs": root.read_only,
        "Tmpfs": {tmpfs.target: tmpfs.options for tmpfs in root.tmpfs},
        "Runtime": "nsbuild",
        "Ulimits": [
            {"Name": names[number], "Soft": soft, "Hard": hard}
            for number, soft, hard in spec.command.limits
        ],
    }


def _network_settings(spec: ContainerSpec) -> dict[str, Any]:
    """Of one in a network of containers; others have none."""
    root = spec.root
    if not is_private(root.network):
        return {}
    address = {
        "IPAddress": root.address,
        "IPPrefixLen": PREFIX,
        "MacAddress": hardware_address(root.address),
        "Gateway": "",
    }
    return {"NetworkSettings": {**address, "Networks": {root.network: address}}}


def _determinism(spec: ContainerSpec) -> dict[str, Any]:
    """What Podman has no names for: what the container's values follow from."""
    rates = spec.rules.rates
    return {
        "Epoch": rates.epoch // NSEC_PER_SEC,
        "Step": rates.step,
        "MonotonicStep": rates.monotonic_step,
        "Seed": spec.rules.seed,
        "Clock": "global" if spec.rules.global_clock else "causal",
        "Profile": spec.profile,
        "CpuModel": spec.root.cpu_model,
        "Sched": spec.scheduling.policy,
    }
