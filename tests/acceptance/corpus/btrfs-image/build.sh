#!/bin/sh
# Packages: btrfs-progs
# Varies: five UUIDs, times and numbers of inodes, order of the directories
set -eu
truncate -s 109M tmp/image
mkfs.btrfs --quiet --rootdir tree tmp/image
tr -d '\0' <tmp/image >out/image-without-zeros
