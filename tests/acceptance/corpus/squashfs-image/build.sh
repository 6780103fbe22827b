#!/bin/sh
# Packages: squashfs-tools
# Varies: time of the image and of its files, links between them by inode number
# Threads: a reader, a writer and the compressors
set -eu
ln tree/a tree/z
mkdir tree/new
mksquashfs tree out/image -quiet -no-progress -comp gzip
