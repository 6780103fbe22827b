"""A bill of materials in SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/), written by spdx-tools.

The same image gives the same text everywhere: what SPDX wants to know of the time is when the image
was made, and its namespace is the image's digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nsbuild.errors import NsbuildError
from nsbuild.images.contents import File
from nsbuild.images.documents import Image
from nsbuild.images.packages import Package

if TYPE_CHECKING:
    from spdx_tools.spdx.model import Document

_NAMESPACE = "https://spdx.org/spdxdocs/nsbuild-"
_SAFE = re.compile(r"[^A-Za-z0-9.-]+")


def spdx(
    image: Image,
    name: str,
    packages: list[Package],
    files: dict[str, File],
    created: datetime,
    version: str,
) -> dict[str, Any]:
    """The document, as JSON has it; `name` is the image's, `version` our own."""
    try:
        from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
    except ImportError:
        raise NsbuildError(
            "cannot write SPDX: Python's spdx-tools is not there", "pip install 'nsbuild[sbom]'"
        ) from None
    document = _document(image, name, packages, files, created, version)
    converted: dict[str, Any] = DocumentConverter().convert(document)  # type: ignore[no-untyped-call]
    # It goes over sets in places; one form for one image.
    return _sorted(converted)


def _sorted(document: dict[str, Any]) -> dict[str, Any]:
    for key in ("files", "packages", "relationships"):
        if key in document:
            document[key] = sorted(document[key], key=lambda one: json.dumps(one, sort_keys=True))
    return document


def _document(
    image: Image,
    name: str,
    packages: list[Package],
    files: dict[str, File],
    created: datetime,
    version: str,
) -> Document:
    from spdx_tools.spdx.model import (
        Actor,
        ActorType,
        CreationInfo,
        Document,
        Relationship,
        RelationshipType,
    )

    info = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id="SPDXRef-DOCUMENT",
        name=name,
        document_namespace=_NAMESPACE + image.digest.removeprefix("sha256:"),
        creators=[Actor(ActorType.TOOL, f"nsbuild-{version}")],
        created=created.replace(microsecond=0, tzinfo=None),
    )
    listed = [_package(one, number) for number, one in enumerate(packages)]
    regular = {path: file for path, file in files.items() if file.kind == "file"}
    named = [
        _file(path, file, number) for number, (path, file) in enumerate(sorted(regular.items()))
    ]
    whole = _whole(image, name, sorted(file.sha1 for file in regular.values()))
    relations = [Relationship(info.spdx_id, RelationshipType.DESCRIBES, whole.spdx_id)]
    relations += [
        Relationship(whole.spdx_id, RelationshipType.CONTAINS, one.spdx_id)
        for one in (*listed, *named)
    ]
    return Document(info, packages=[whole, *listed], files=named, relationships=relations)


def _whole(image: Image, name: str, sums: list[str]) -> Any:  # noqa: ANN401 - their Package
    from spdx_tools.spdx.model import (
        Checksum,
        ChecksumAlgorithm,
        Package,
        PackageVerificationCode,
        SpdxNoAssertion,
    )

    # 7.9 of the specification: it tells whether the files are the same, and no more.
    code = hashlib.sha1("".join(sums).encode(), usedforsecurity=False).hexdigest()
    return Package(
        spdx_id="SPDXRef-image",
        name=name,
        download_location=SpdxNoAssertion(),
        version=image.digest,
        files_analyzed=bool(sums),
        verification_code=PackageVerificationCode(code) if sums else None,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, image.digest.removeprefix("sha256:"))],
    )


def _package(package: Package, number: int) -> Any:  # noqa: ANN401
    from spdx_tools.spdx.model import (
        ExternalPackageRef,
        ExternalPackageRefCategory,
        SpdxNoAssertion,
    )
    from spdx_tools.spdx.model import Package as Described

    return Described(
        spdx_id=f"SPDXRef-package-{number}-{_SAFE.sub('-', package.name)}",
        name=package.name,
        download_location=SpdxNoAssertion(),
        version=package.version,
        files_analyzed=False,
        external_references=[
            ExternalPackageRef(
                ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", package_url(package)
            )
        ],
    )


def package_url(package: Package) -> str:
    """https://github.com/package-url/purl-spec, without the distribution, which nothing says."""
    from urllib.parse import quote

    name, version = quote(package.name, safe=""), quote(package.version, safe="")
    return f"pkg:{package.kind}/{name}@{version}?arch={quote(package.architecture, safe='')}"


def _file(path: str, file: File, number: int) -> Any:  # noqa: ANN401
    from spdx_tools.spdx.model import Checksum, ChecksumAlgorithm
    from spdx_tools.spdx.model import File as Described

    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return Described(
        name=f"./{shown}",
        spdx_id=f"SPDXRef-file-{number}",
        checksums=[
            Checksum(ChecksumAlgorithm.SHA1, file.sha1),
            Checksum(ChecksumAlgorithm.SHA256, file.sha256),
        ],
    )
