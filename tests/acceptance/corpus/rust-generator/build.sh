#!/bin/sh
# Packages: rustc gcc libc6-dev
# Varies: order of a `HashMap`, time and process number in generated code, names in an incremental cache
# Threads: the compiler's
set -eu
rustc -o tmp/generate generate.rs
tmp/generate >table.rs
rustc -g -C incremental=cache -o out/program main.rs
cp table.rs out/
find cache -mindepth 1 | LC_ALL=C sort >out/cache
