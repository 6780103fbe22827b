#!/bin/sh
# Packages: cmake ninja-build gcc libc6-dev
# Varies: `string(TIMESTAMP)`, `string(RANDOM)`, and ninja's log of times and durations
set -eu
cmake -G Ninja -S . -B tree >tmp/log
ninja -C tree -j4 >out/said
cp tree/program tree/.ninja_log tree/.ninja_deps tree/stamp.h out/
cp tree/CMakeFiles/CMakeOutput.log out/configured
