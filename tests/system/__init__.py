"""Tests that run `nsbuild exec` on this machine, as root and as an ordinary user."""
