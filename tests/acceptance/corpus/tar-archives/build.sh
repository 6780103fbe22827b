#!/bin/sh
# Packages: zstd
# Varies: times to the nanosecond, inode and device numbers in an incremental archive, order of the directory
set -eu
echo new >tree/new
tar --format=posix -cf out/tree.tar tree
tar -cf - tree | gzip >out/tree.tar.gz
tar --listed-incremental=out/snapshot -cf - tree | zstd -q >out/tree.tar.zst
gzip -c tree/new >out/new.gz
