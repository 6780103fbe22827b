"""A session of commands for Podman and nsbuild."""
