#!/bin/sh
# Packages: e2fsprogs
# Varies: UUID, seed of its hash, times and generations of its inodes
set -eu
mke2fs -q -t ext4 -d tree out/image 2M
dumpe2fs -h out/image >out/head 2>tmp/said
