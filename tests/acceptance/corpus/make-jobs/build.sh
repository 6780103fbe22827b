#!/bin/sh
# Packages: make gcc libc6-dev
# Varies: times and process numbers of eight jobs at once
set -eu
make -j8 --no-print-directory
