"""What images are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.errors import NsbuildError
from nsbuild.images import reference
from nsbuild.images.documents import Image
from nsbuild.images.lookup import choose, name_of

DIGEST = "sha256:" + "0123456789abcdef" * 4
WORDS = st.text("az09", min_size=1, max_size=6)
COMPONENTS = st.lists(WORDS, min_size=1, max_size=3).map("_".join) | WORDS
PATHS = st.lists(COMPONENTS, min_size=1, max_size=3).map("/".join)
TAGS = st.builds("{}{}".format, st.sampled_from("aZ0_"), st.text("aZ09_.-", max_size=20))
DOMAINS = st.sampled_from(["localhost", "quay.io", "127.0.0.1:5000", "docker.io", "[::1]:5000"])


@pytest.mark.parametrize(
    ("text", "local", "remote"),
    [
        ("busybox", "localhost/busybox:latest", "docker.io/library/busybox:latest"),
        ("busybox:1", "localhost/busybox:1", "docker.io/library/busybox:1"),
        ("me/tool", "localhost/me/tool:latest", "docker.io/me/tool:latest"),
        ("quay.io/me/tool", "quay.io/me/tool:latest", "quay.io/me/tool:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", None),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest", None),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c", None),
        ("localhost/a", "localhost/a:latest", None),
        ("a@" + DIGEST, "localhost/a@" + DIGEST, "docker.io/library/a@" + DIGEST),
        ("quay.io/a:b@" + DIGEST, "quay.io/a:b@" + DIGEST, None),
    ],
)
def test_full_names(text: str, local: str, remote: str | None) -> None:
    assert reference.local(text) == local
    assert reference.remote(text) == (remote or local)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a:", ":a", "a b", "a@sha256:1", "a@md5:" + "0" * 64, "/a", "a//b", "a/", "-a"),
        *("a:b:c", "quay.io:x/a", "..", "a/../b", "a\nb", "quay.io/", "x" * 256, "a:" + "t" * 129),
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(NsbuildError, match="invalid reference format"):
        reference.parse(text)


def test_capitals_are_named_as_the_reason() -> None:
    with pytest.raises(NsbuildError, match="repository name must be lowercase"):
        reference.parse("Busybox")


@given(DOMAINS, PATHS, TAGS)
def test_full_names_are_read_as_they_are_written(domain: str, path: str, tag: str) -> None:
    text = f"{domain}/{path}:{tag}"
    full = reference.local(text)
    assert reference.local(full) == reference.remote(full) == full
    assert str(reference.parse(full)) == full
    assert reference.means(f"{path}:{tag}", full)


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        found = reference.parse(text)
    except NsbuildError:
        return
    assert reference.local(str(found)) == reference.local(text)


def image(digits: str, *names: str) -> Image:
    return Image(digits.ljust(64, "0"), f"sha256:{digits:f<64}", names, {}, (), 0)


FIRST = image("abc1", "localhost/one:latest", "quay.io/x/two:1")
SECOND = image("abd2", "docker.io/library/one:latest", "docker.io/library/abc:latest")
THIRD = image("abe3")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one", FIRST),
        ("localhost/one", FIRST),
        ("docker.io/one", SECOND),
        ("docker.io/library/one:latest", SECOND),
        ("one:2", None),
        ("two:1", FIRST),
        ("x/two:1", FIRST),
        ("two", None),
        ("abc1", FIRST),
        ("abc", SECOND),
        ("abe", THIRD),
        ("sha256:abc1", FIRST),
        (THIRD.id, THIRD),
        (f"sha256:{THIRD.id}", THIRD),
        (THIRD.digest, THIRD),
        (f"one@{FIRST.digest}", FIRST),
        (f"docker.io/library/one@{FIRST.digest}", None),
        ("nothing", None),
        ("Nothing at all", None),
    ],
)
def test_names_and_ids(name: str, found: Image | None) -> None:
    assert choose([FIRST, SECOND, THIRD], name) == found


def test_an_id_that_is_not_the_only_one() -> None:
    with pytest.raises(NsbuildError, match="more than one image"):
        choose([FIRST, SECOND, THIRD], "ab")


def test_which_name_is_meant() -> None:
    assert name_of(FIRST, "one") == "localhost/one:latest"
    assert name_of(FIRST, "two:1") == "quay.io/x/two:1"
    assert name_of(FIRST, "abc1") == ""
    assert name_of(SECOND, "abc") == "docker.io/library/abc:latest"
