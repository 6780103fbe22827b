#!/bin/sh
# Packages: gcc libc6-dev
# Varies: random names of the sections that gcc's link time optimiser reads
set -eu
for part in one two; do
	gcc -O2 -flto -c -o out/$part.o $part.c
done
gcc-ar rcs out/libparts.a out/one.o out/two.o
gcc -O2 -flto=2 -save-temps -dumpdir tmp/ -o out/program main.c out/libparts.a
cp tmp/*.o out/
