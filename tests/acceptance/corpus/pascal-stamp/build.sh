#!/bin/sh
# Packages: fp-compiler
# Varies: `{$I %DATE%}` and `{$I %TIME%}`
set -eu
fpc -v0 -FUtmp -oout/small small.pas >tmp/said
