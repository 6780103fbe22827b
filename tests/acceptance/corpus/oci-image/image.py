"""Packs one layer as the Open Container Initiative's image layout wants it."""

import hashlib
import json
import sys
import time
from pathlib import Path

layer, top = (Path(word) for word in sys.argv[1:])


def blob(content: bytes, kind: str) -> dict[str, object]:
    """Store it under its digest."""
    digest = hashlib.sha256(content).hexdigest()
    (top / "blobs/sha256" / digest).write_bytes(content)
    media = f"application/vnd.oci.image.{kind}"
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}


def as_json(value: object) -> bytes:
    """As it is stored."""
    return json.dumps(value).encode()


created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
packed = blob(layer.read_bytes(), "layer.v1.tar+gzip")
rootfs = {"type": "layers", "diff_ids": [packed["digest"]]}
config = {"created": created, "architecture": "amd64", "os": "linux", "rootfs": rootfs}
image = {"schemaVersion": 2, "config": blob(as_json(config), "config.v1+json"), "layers": [packed]}
index = {"schemaVersion": 2, "manifests": [blob(as_json(image), "manifest.v1+json")]}
(top / "index.json").write_bytes(as_json(index))
