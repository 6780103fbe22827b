#!/bin/sh
# Packages: genisoimage
# Varies: times of the volume and of its files, order in the translation table
set -eu
genisoimage -quiet -R -J -T -V SMALL -o out/small.iso tree
