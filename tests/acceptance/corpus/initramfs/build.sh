#!/bin/sh
# Packages: busybox-static cpio
# Varies: numbers, links and times of inodes, order of `find`, and the time in the gzip header
set -eu
mkdir -p root/bin root/dev
cp /bin/busybox root/bin/
ln root/bin/busybox root/bin/sh
install -m 755 init root/init
(cd root && find . | cpio --quiet -o -H newc) >tmp/initramfs
gzip -1 -N <tmp/initramfs >out/initramfs.gz
sha256sum tmp/initramfs >out/sum
find root | cpio --quiet -o -H odc | head -c 600 >out/old-head
