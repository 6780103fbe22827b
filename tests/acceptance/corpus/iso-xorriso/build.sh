#!/bin/sh
# Packages: xorriso
# Varies: times of the volume and of its files, the serial number of a hybrid image
set -eu
xorriso -as mkisofs -quiet -R -J -V SMALL -o out/small.iso tree 2>tmp/said
xorriso -as mkisofs -quiet -r -partition_offset 16 -o out/hybrid.iso tree 2>tmp/said
