#!/bin/sh
# Packages: erofs-utils
# Varies: UUID and time of the image, times and numbers of inodes
set -eu
mkfs.erofs --quiet out/image tree
