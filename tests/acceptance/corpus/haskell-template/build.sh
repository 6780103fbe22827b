#!/bin/sh
# Packages: ghc gcc
# Varies: time and `hashUnique` run at compile time by Template Haskell, `__TIME__` by cpp
# Threads: the compiler's
set -eu
ghc -v0 -O0 -outputdir tmp -o out/program Main.hs
cp tmp/Stamp.hi tmp/Main.o out/
