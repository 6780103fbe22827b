#!/bin/sh
# Packages: python3
# Varies: a layer with times, its digest, and through it the manifest and the index
set -eu
mkdir -p layer/etc tmp/blobs/sha256
hostname >layer/etc/hostname 2>/dev/null || uname -n >layer/etc/hostname
cat /proc/sys/kernel/random/uuid >layer/etc/machine-id
tar -C layer -czf tmp/layer.tar.gz .
python3 image.py tmp/layer.tar.gz tmp
tar -C tmp -cf out/image.tar blobs index.json
cp tmp/index.json out/
