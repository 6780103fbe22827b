#!/bin/sh
# Packages: sbcl
# Varies: time of compilation and a random number in a fasl, and a dumped core with both
set -eu
sbcl --noinform --non-interactive --no-userinit --no-sysinit --load build.lisp >tmp/said
cp stamp.fasl out/
