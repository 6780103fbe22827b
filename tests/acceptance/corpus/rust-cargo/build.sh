#!/bin/sh
# Packages: cargo rustc gcc libc6-dev
# Varies: a build script that writes a `HashMap`, the time and a thread's number; cargo's fingerprints
# Threads: cargo's and rustc's
set -eu
export CARGO_HOME="$PWD/cargo"
cargo build --offline --quiet
cp target/debug/small out/
cp target/debug/build/small-*/out/table.rs out/
find target/debug/incremental -mindepth 1 | LC_ALL=C sort >out/incremental
