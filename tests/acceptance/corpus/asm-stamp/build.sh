#!/bin/sh
# Packages: nasm
# Varies: `__DATE__` and `__TIME__` of nasm, in an object, a listing and a debug line table
set -eu
nasm -f elf64 -g -F dwarf -l out/boot.lst -o out/boot.o boot.asm
nasm -f bin -o out/boot.bin -D FLAT boot.asm
