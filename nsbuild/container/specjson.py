"""A ContainerSpec as JSON, so that a container that was created can be started later, and again.

What is kept is the plan itself, in which everything that depended on the caller (variables,
relative paths, settings) has been decided, and not the command line that asked for it.
"""

from __future__ import annotations

import json
from typing import Any

from nsbuild.container.spec import (
    CommandSpec,
    ContainerSpec,
    Identity,
    RootSpec,
    SchedulingSpec,
    Tmpfs,
    Volume,
)
from nsbuild.determinism.clock import Rates
from nsbuild.supervisor.rules import Rules


def encode(spec: ContainerSpec) -> str:
    """The spec, which has neither a state nor a contract, nor what an earlier call has left."""
    root, command, rules = spec.root, spec.command, spec.rules
    return json.dumps(
        {
            **spec._asdict(),
            "root": {
                **root._asdict(),
                "identity": root.identity._asdict(),
                "kept": [volume._asdict() for volume in root.kept],
                "volumes": [volume._asdict() for volume in root.volumes],
                "tmpfs": [tmpfs._asdict() for tmpfs in root.tmpfs],
            },
            "command": {
                **command._asdict(),
                "bounding": None if command.bounding is None else sorted(command.bounding),
            },
            "scheduling": spec.scheduling._asdict(),
            "rules": {**rules._asdict(), "rates": rules.rates._asdict()},
        }
    )


def decode(text: str) -> ContainerSpec:
    """What `encode` was given."""
    spec = json.loads(text)
    root, command, rules = spec["root"], spec["command"], spec["rules"]
    bounding = command["bounding"]
    return ContainerSpec(
        **{
            **spec,
            "root": RootSpec(**{**root, **_root_parts(root)}),
            "command": CommandSpec(
                **{
                    **command,
                    "argv": tuple(command["argv"]),
                    "limits": tuple(map(tuple, command["limits"])),
                    "bounding": None if bounding is None else frozenset(bounding),
                }
            ),
            "scheduling": SchedulingSpec(**spec["scheduling"]),
            "rules": Rules(
                **{**rules, "rates": Rates(**rules["rates"]), "names": tuple(rules["names"])}
            ),
        }
    )


def _root_parts(root: dict[str, Any]) -> dict[str, Any]:
    return {
        "identity": Identity(**root["identity"]),
        "volumes": tuple(Volume(**volume) for volume in root["volumes"]),
        "tmpfs": tuple(Tmpfs(**tmpfs) for tmpfs in root["tmpfs"]),
        "kept": tuple(Volume(**volume) for volume in root["kept"]),
        "layers": tuple(root["layers"]),
    }
