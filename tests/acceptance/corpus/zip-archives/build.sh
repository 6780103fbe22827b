#!/bin/sh
# Packages: zip p7zip-full
# Varies: three times of each file, in local time, and the order of the directory
set -eu
echo new >tree/new
zip -q -r out/tree.zip tree
7z a -bd -mmt=off -mtc=on -mta=on out/tree.7z tree >tmp/said
