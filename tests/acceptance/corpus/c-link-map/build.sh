#!/bin/sh
# Packages: gcc libc6-dev
# Varies: names of temporary objects in the linker's map, and a build id of random bytes
set -eu
gcc -Wl,-Map=out/map -Wl,--build-id=uuid -o out/program main.c part.c
objcopy --dump-section .note.gnu.build-id=out/build-id out/program
