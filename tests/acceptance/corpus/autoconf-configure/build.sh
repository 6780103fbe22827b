#!/bin/sh
# Packages: autoconf gcc libc6-dev make
# Varies: times and process numbers in config.log, names of temporary files, autom4te's cache
set -eu
autoconf -Wno-obsolete
./configure --quiet
cp config.log config.status config.h out/
cat autom4te.cache/requests >out/requests
