#!/bin/sh
# Packages: build-essential
# Varies: time of the compilation in a macro of a precompiled header, and a dump of the compiler's memory
set -eu
g++ -x c++-header -o everything.h.gch everything.h
cp everything.h.gch out/
g++ -include everything.h -Winvalid-pch -H -o out/program main.cc 2>out/headers
