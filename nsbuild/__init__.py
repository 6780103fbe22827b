"""nsbuild: a container runtime in which an unmodified build gives the same bits every time."""

__version__ = "0.1.0"
