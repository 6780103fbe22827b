"""python -m nsbuild."""

from nsbuild.cli import main

main()
