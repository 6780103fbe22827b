"""A stand-in for qubes-builder v2: as much of it as nsbuild's executor touches, in our own words.

v2 cannot be fetched where these tests run. What is here has v2's names, order of things and error
texts, as of its commit c90c3f4d (August 2026); tests/acceptance/qubes/run takes v2 itself.
"""
