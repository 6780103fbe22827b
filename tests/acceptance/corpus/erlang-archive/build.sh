#!/bin/sh
# Packages: erlang-base
# Varies: times of the files in an archive, random numbers and a time in a generated module
# Threads: the schedulers of its runtime
set -eu
escript build.escript
