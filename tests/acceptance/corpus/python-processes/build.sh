#!/bin/sh
# Packages: python3
# Varies: process numbers, random numbers and clocks of four workers, and the order in which they end
set -eu
python3 build.py >out/log
