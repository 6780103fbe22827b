#!/bin/sh
# Packages: gcc libc6-dev
# Varies: times, owners and modes of members, and the time of the index
set -eu
gcc -c one.c two.c
ar rcU out/libnumbers.a one.o two.o
ranlib -U out/libnumbers.a
ar tvO out/libnumbers.a >out/members
