#!/bin/sh
# Packages: gcc libc6-dev
# Varies: `__DATE__` and `__TIME__`, in the program and in what it was compiled from
set -eu
gcc -O2 -g -o out/hello hello.c
gcc -E -o out/hello.i hello.c
