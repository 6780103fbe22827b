"""The store: what is put in comes out, the same for the same, and nothing else stays."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from nsbuild.errors import NsbuildError
from nsbuild.images import documents, index
from nsbuild.images.documents import Image
from nsbuild.images.place import Place, Workshop, replace
from nsbuild.images.store import Store
from nsbuild.images.verification import verify

CONFIG = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def tree(top: Path, **files: str) -> str:
    """A directory of files, all of one time."""
    top.mkdir(parents=True)
    for name, text in files.items():
        (top / name).write_text(text)
        os.utime(top / name, ns=(0, 0))
    os.utime(top, ns=(0, 0))
    return str(top)


def made(store: Store, top: Path, *names: str, **files: str) -> Image:
    image = store.commit([store.add_layer(tree(top, **files), upper=False)], CONFIG, names)
    store.close()
    return image


def left(store: Store) -> dict[str, set[str]]:
    return {
        name: set(os.listdir(store.place.at(name))) for name in ("blobs/sha256", "layers", "tmp")
    }


def test_an_empty_store_is_not_made_by_looking(store: Store) -> None:
    assert store.images() == []
    assert store.find("x") is None
    with pytest.raises(NsbuildError, match=r"^x: image not known$"):
        store.image("x")
    assert not os.path.exists(store.path)


def test_the_same_for_the_same(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        image = made(Store(str(tmp_path / name)), tmp_path / f"{name}.tree", "localhost/x:1", f="1")
        digests.add((image.digest, image.id))
    assert len(digests) == 1


def test_an_image_by_its_names(store: Store, tmp_path: Path) -> None:
    image = made(store, tmp_path / "t", "localhost/x:1", "quay.io/y:2", f="1")
    for name in (
        "x:1",
        "localhost/x:1",
        "quay.io/y:2",
        "y:2",
        image.id,
        image.id[:4],
        image.digest,
    ):
        assert store.image(name) == image
    assert image.names == ("localhost/x:1", "quay.io/y:2")


def test_it_is_an_oci_layout(store: Store, tmp_path: Path) -> None:
    image = made(store, tmp_path / "t", "localhost/x:1", f="1")
    layout = json.loads(Path(store.path, "oci-layout").read_text())
    assert layout == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(Path(store.path, "index.json").read_text())["manifests"]
    assert entry["digest"] == image.digest
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "localhost/x:1"}
    manifest = Path(store.blob(entry["digest"])).read_bytes()
    assert len(manifest) == entry["size"]
    assert manifest == documents.canonical(json.loads(manifest))


def test_layers_upon_layers(store: Store, tmp_path: Path) -> None:
    base = made(store, tmp_path / "base", "localhost/base:1", f="1")
    more = store.add_layer(tree(tmp_path / "more", g="2"), upper=True)
    image = store.commit([*base.layers, more], CONFIG, ("localhost/more:1",))
    store.close()
    low, high = store.unpacked(image)
    assert (os.listdir(low), os.listdir(high)) == (["f"], ["g"])
    assert store.unpacked(base) == (low,)
    store.remove(base)
    assert Path(low, "f").read_text() == "1"
    assert verify(store, image) == []


def test_a_layer_that_is_gone_makes_no_image(store: Store, tmp_path: Path) -> None:
    base = made(store, tmp_path / "base", "localhost/base:1", f="1")
    more = store.add_layer(tree(tmp_path / "more", g="2"), upper=True)
    store.remove(base)
    with pytest.raises(NsbuildError, match="was removed meanwhile"):
        store.commit([*base.layers, more], CONFIG, ())
    store.close()
    assert store.images() == []


def test_what_the_killed_left_goes(store: Store, tmp_path: Path) -> None:
    image = made(store, tmp_path / "base", "localhost/base:1", f="1")
    before = left(store)
    other = Workshop(store.place)
    Path(other.at("half")).write_text("half")
    # As the kernel does when its process is killed.
    os.close(other.fd)
    store.tag(image, ["localhost/base:2"])
    store.untag(image, ["localhost/base:2"])
    assert left(store) == before


def test_names_move(store: Store, tmp_path: Path) -> None:
    first = made(store, tmp_path / "a", "localhost/x:1", f="1")
    second = made(store, tmp_path / "b", "localhost/x:1", f="2")
    assert store.image("x:1").id == second.id
    assert store.image(first.id).names == ()
    store.tag(store.image(first.id), ["localhost/x:1", "localhost/z:1"])
    assert store.image("x:1").id == store.image("z:1").id == first.id
    assert store.image(second.id).names == ()
    store.untag(store.image("z:1"), ["localhost/z:1"])
    assert store.image(first.id).names == ("localhost/x:1",)


def test_one_image_may_come_with_another_manifest(store: Store, tmp_path: Path) -> None:
    """As one that is packed for a registry: it has the same id, and gets one more name."""
    image = made(store, tmp_path / "a", "localhost/x:1", f="1")
    (layer,) = image.layers
    other = layer._replace(media_type="application/vnd.oci.image.layer.v1.tar+other")
    again = store.commit([other], CONFIG, ("localhost/y:1",))
    assert (again.id, again.digest) == (image.id, image.digest)
    assert again.names == ("localhost/x:1", "localhost/y:1")
    assert len(store.images()) == 1


def test_what_is_removed_leaves_nothing(store: Store, tmp_path: Path) -> None:
    image = made(store, tmp_path / "a", "localhost/x:1", f="1")
    store.unpacked(image)
    store.remove(image)
    assert left(store) == {"blobs/sha256": set(), "layers": set(), "tmp": set()}
    with pytest.raises(NsbuildError, match="image not known"):
        store.remove(image)


def test_a_name_that_came_meanwhile_keeps_an_image(store: Store, tmp_path: Path) -> None:
    """Who has found it with one name may remove it as such, and not what another has tagged."""
    image = made(store, tmp_path / "a", "localhost/x:1", f="1")
    store.tag(image, ("localhost/y:1",))
    assert not store.remove(image, as_named=True)
    assert store.image("y:1").names == ("localhost/x:1", "localhost/y:1")
    assert store.remove(store.image("y:1"), as_named=True)
    assert store.images() == []


def test_a_pin_of_a_workshop_ends_with_it(store: Store, tmp_path: Path) -> None:
    """A build that is killed takes nothing back."""
    image = made(store, tmp_path / "t", "localhost/x:1", f="1")
    with store.place.workshop() as shop:
        user = f"{shop.name}.0"
        store.pin(image, user)
        assert store.users(image) == [user]
        with pytest.raises(NsbuildError, match="in use"):
            store.remove(image)
    assert store.users(image) == []
    store.remove(image)


def test_a_workshop_that_ends_while_it_is_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is free then, and the directory is gone, which is no error."""
    shop = Workshop(store.place)
    real = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        if operation & fcntl.LOCK_NB:
            shop.close()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    store.place.sweep()
    assert os.listdir(store.place.at("tmp")) == []


def test_pins_hold(store: Store, tmp_path: Path) -> None:
    image = made(store, tmp_path / "a", "localhost/x:1", f="1")
    store.pin(image, "c1")
    store.pin(image, "c2")
    assert store.users(image) == ["c1", "c2"]
    with pytest.raises(NsbuildError, match="image used by c1"):
        store.remove(image)
    store.unpin("c1")
    store.unpin("c2")
    store.unpin("c2")
    store.remove(image)
    with pytest.raises(NsbuildError, match="image not known"):
        store.pin(image, "c1")


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_damage_is_said(store: Store, tmp_path: Path, which: str) -> None:
    image = made(store, tmp_path / "a", "localhost/x:1", f="1")
    digest = {
        "manifest": image.digest,
        "config": f"sha256:{image.id}",
        "layer": image.layers[0].digest,
    }[which]
    path = Path(store.blob(digest))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    if which == "layer":
        assert [line.split()[1] for line in verify(store, image)] == [digest]
        with pytest.raises(NsbuildError, match="not an archive to its end"):
            store.unpacked(image)
        assert left(store)["layers"] == set()
        return
    with pytest.raises(NsbuildError, match=rf"blob {digest} .* is damaged"):
        store.image("x:1")
    other = made(store, tmp_path / "c", "localhost/other:1", f="2")
    assert store.images() == [other]
    # Once more with the right bytes, it is whole again.
    assert made(store, tmp_path / "b", "localhost/x:1", f="1").id == image.id
    assert verify(store, store.image("x:1")) == []


def test_what_is_damaged_can_be_removed(store: Store, tmp_path: Path) -> None:
    image = made(store, tmp_path / "a", "localhost/x:1", f="1")
    other = made(store, tmp_path / "b", "localhost/other:1", f="2")
    Path(store.blob(image.digest)).write_bytes(b"{}")
    assert not store.forget("nothing")
    assert store.forget("x:1")
    assert store.images() == [other]
    assert left(store)["blobs/sha256"] == {
        one.removeprefix("sha256:") for one in (other.digest, other.id, other.layers[0].digest)
    }


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b'{"manifests": [1]}',
        b'{"manifests": [{"digest": "sha256:x", "size": 1}]}',
        b'{"manifests": [{"digest": "sha256:%s", "size": -1}]}' % (b"0" * 64),
        b'{"manifests": [{"digest": "../../../etc/passwd", "size": 1}]}',
    ],
)
def test_an_index_that_makes_no_sense(store: Store, tmp_path: Path, text: bytes) -> None:
    made(store, tmp_path / "a", "localhost/x:1", f="1")
    Path(store.path, "index.json").write_bytes(text)
    with pytest.raises(NsbuildError, match=r"index\.json"):
        store.images()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rootfs": None}, "lists others"),
        ({"rootfs": {"diff_ids": []}}, "lists others"),
        ({"rootfs": {"diff_ids": ["../x"]}}, "has a digest that is none"),
        ({"config": []}, "makes no sense"),
        ({"history": {}}, "makes no sense"),
        ({"created": 5}, "makes no sense"),
    ],
)
def test_a_config_that_makes_no_sense(change: dict[str, object], why: str) -> None:
    one = documents.make_descriptor("", "sha256:" + "0" * 64, 1)
    manifest = {"schemaVersion": 2, "config": one, "layers": [one]}
    config = {"rootfs": {"diff_ids": ["sha256:" + "1" * 64]}, **change}
    with pytest.raises(NsbuildError, match=why):
        documents.describe_image(manifest, "sha256:" + "2" * 64, config, ())


def test_names_of_an_index() -> None:
    entries = index.with_names([], "a", ())
    assert entries == [("a", "")]
    entries = index.with_names(entries, "a", ("x",))
    assert entries == [("a", "x")]
    entries = index.with_names(entries, "b", ("x", "y"))
    assert entries == [("a", ""), ("b", "x"), ("b", "y")]
    assert index.without_names(entries, "b", frozenset(("x", "y"))) == [("a", ""), ("b", "")]
    assert index.without(entries, "b") == [("a", "")]


def test_a_workshop_that_is_in_use_stays(tmp_path: Path) -> None:
    place = Place(str(tmp_path))
    with place.workshop() as shop:
        place.sweep()
        assert os.path.isdir(shop.path)
    assert os.listdir(place.at("tmp")) == []


def test_half_of_a_document_goes(tmp_path: Path) -> None:
    place = Place(str(tmp_path))
    place.make()
    Path(place.at("tmp", "new-1")).write_text("half")
    Path(place.at("tmp", "link")).symlink_to("/etc")
    replace(place.at("index.json"), b"{}", place.at("tmp"))
    place.sweep()
    assert os.listdir(place.at("tmp")) == []
    assert os.path.isdir("/etc")


def test_another_users_store_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(str(tmp_path))
    place.make()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(NsbuildError, match="belongs to user"):
        Store(str(tmp_path)).images()


def test_which_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSBUILD_STORE", "/a")
    assert Store.default().path == "/a"
    monkeypatch.delenv("NSBUILD_STORE")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Store.default().path == "/var/lib/nsbuild"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert Store.default().path == "/data/nsbuild"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert Store.default().path == "/home/me/.local/share/nsbuild"
