#!/bin/sh
# Packages: dosfstools mtools
# Varies: volume number, times of files, and the order in which they were found
set -eu
mkfs.vfat -C out/image 256 >tmp/said
find tree -type f -exec mcopy -m -i out/image {} :: \;
mmd -i out/image ::/new
printf 'x' | mcopy -i out/image - ::/new/x
