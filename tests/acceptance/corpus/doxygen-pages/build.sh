#!/bin/sh
# Packages: doxygen
# Varies: the time at the foot of each page
set -eu
doxygen Doxyfile >tmp/said
cp -r html out/
