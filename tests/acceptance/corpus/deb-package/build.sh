#!/bin/sh
# Packages: dpkg-dev
# Varies: times of the files and of the members of the package, with SOURCE_DATE_EPOCH unset
set -eu
mkdir -p tree/usr/share/small
date >tree/usr/share/small/built
dpkg-deb --root-owner-group --build tree out/small.deb >tmp/said
tar -C tree -cf - . | gzip >out/data.tar.gz
