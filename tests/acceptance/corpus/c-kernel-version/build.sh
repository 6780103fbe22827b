#!/bin/bash
# Packages: gcc libc6-dev make
# Varies: the banner that the kernel's build makes of date, user, host, version and a counter
set -eu
make --no-print-directory
