#!/bin/sh
# Packages: python3
# Varies: process numbers of a pool of workers, the order in which they end, their random numbers
# Threads: the pool's
set -eu
python3 build.py >out/log
