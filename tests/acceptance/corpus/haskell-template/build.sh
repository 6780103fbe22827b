#!/bin/sh
# Packages: ghc gcc
# Varies: the time, asked for at compile time by Template Haskell, and `__TIME__` by cpp
# Threads: the compiler's
set -eu
ghc -v0 -O0 -outputdir tmp -o out/program Main.hs
cp tmp/Stamp.hi tmp/Main.o out/
