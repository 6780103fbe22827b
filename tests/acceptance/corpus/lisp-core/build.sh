#!/bin/sh
# Packages: sbcl
# Varies: time of compilation in a fasl, a dumped core, `gensym` by random state, universal time
set -eu
sbcl --noinform --non-interactive --no-userinit --no-sysinit --load build.lisp >tmp/said
cp stamp.fasl out/
