#!/bin/sh
# Packages: gcc libc6-dev
# Varies: the stamp in .gcno and .gcda files, and which branch `time() % 2` took
set -eu
gcc --coverage -c -o parity.o parity.c
gcc --coverage -o parity parity.o
./parity || true
gcov --branch-probabilities parity.o >out/summary
gcov --json-format --stdout parity.o >out/coverage.json
cp parity.gcno parity.gcda parity.c.gcov out/
