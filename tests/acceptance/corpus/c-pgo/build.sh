#!/bin/sh
# Packages: gcc libc6-dev
# Varies: the stamp of a profile, and the branches of a program that sorts random numbers
set -eu
gcc -O2 -fprofile-generate -o sort-profiled sort.c
for _ in 1 2 3; do
	./sort-profiled
done
cp ./*.gcda out/
mv sort-profiled-sort.gcda sort-sort.gcda
gcc -O2 -fprofile-use -Wno-coverage-mismatch -o sort sort.c
cp sort out/
