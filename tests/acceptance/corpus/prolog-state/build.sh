#!/bin/sh
# Packages: swi-prolog-nox
# Varies: `random/1`, `get_time/1` in term expansion, times in a saved state, which is an archive
set -eu
swipl -q -o out/small -c small.pl 2>tmp/said
swipl -q -g 'forall(seen(X), (print(X), nl))' -t halt small.pl >out/seen
