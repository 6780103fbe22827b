#!/bin/sh
# Packages: python3
# Varies: numbers and random bytes of eight threads, and who of them is done first
# Threads: of a pool
set -eu
python3 build.py >out/log
