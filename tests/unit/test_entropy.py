"""The streams: their exact encoding, and that they never meet."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsbuild.determinism.entropy import (
    BLOCK_SIZE,
    SEED_SIZE,
    Stream,
    block,
    child_seed,
    root_seed,
)
from nsbuild.supervisor import extension, hotcalls

SEEDS = st.binary(min_size=SEED_SIZE, max_size=SEED_SIZE)
SIZES = st.integers(min_value=0, max_value=200)


def test_vectors() -> None:
    """The documented encoding, computed here once more by hand and once written down."""
    root = hashlib.sha1(b"nsbuild stream 0").digest()
    assert root_seed(0) == root
    assert root.hex() == "23b0eaee1211fbd6e887a7be1f8f2b854a73dc43"
    assert block(root, 0).hex() == "ba8d3252eed11d877d1c98926b159fa18ecc2788"
    assert block(root, 1).hex() == "bf44667878b8c340ac46514a1dcbfc385fd9905b"
    child = hashlib.sha1(b"nsbuild child " + root + bytes(8)).digest()
    assert child_seed(root, 0) == child
    assert child.hex() == "a5cfefec2d626f1a2069bec50c6c146d48aa0700"
    assert root_seed(1) == hashlib.sha1(b"nsbuild stream 1").digest()


@pytest.mark.skipif(not extension.available(), reason="the extension is not there")
@given(SEEDS, st.integers(0, 1 << 62), SIZES)
def test_the_extension_draws_the_same(seed: bytes, position: int, size: int) -> None:
    stream = Stream(seed)
    stream.position = position
    assert hotcalls.draw(seed, position, size) == stream.peek(size)
    root = root_seed(0)
    assert hotcalls.draw(root, 0, BLOCK_SIZE) == block(root, 0)
    assert hotcalls.draw(root, BLOCK_SIZE, BLOCK_SIZE) == block(root, 1)


@given(SEEDS, st.lists(SIZES, max_size=20))
def test_a_stream_is_its_blocks_whatever_the_reads(seed: bytes, sizes: list[int]) -> None:
    stream = Stream(seed)
    read = b""
    for size in sizes:
        data = stream.peek(size)
        assert len(data) == size
        stream.advance(size)
        read += data
    blocks = b"".join(block(seed, i) for i in range(sum(sizes) // BLOCK_SIZE + 1))
    assert read == blocks[: len(read)]


@given(SEEDS, SIZES, SIZES)
def test_peeking_does_not_move(seed: bytes, skip: int, size: int) -> None:
    stream = Stream(seed)
    stream.advance(skip)
    assert stream.peek(size) == stream.peek(size)
    assert stream.position == skip


@given(SEEDS, st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_siblings_have_seeds_of_their_own(seed: bytes, one: int, other: int) -> None:
    assert (child_seed(seed, one) == child_seed(seed, other)) == (one == other)
    assert child_seed(seed, one) != seed


@given(st.integers(0, 1 << 80), st.integers(0, 1 << 80))
def test_seeds_make_different_roots(one: int, other: int) -> None:
    assert (root_seed(one) == root_seed(other)) == (one == other)


@given(SEEDS, SIZES, st.integers(0, 1000))
def test_a_child_does_not_depend_on_how_far_its_parent_has_read(
    seed: bytes, read: int, ordinal: int
) -> None:
    parent = Stream(seed)
    before = parent.child(ordinal).peek(40)
    parent.advance(read)
    assert parent.child(ordinal).peek(40) == before
