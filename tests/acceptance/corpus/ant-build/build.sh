#!/bin/sh
# Packages: ant default-jdk-headless
# Varies: `tstamp`, a build number, and the times in the archive
# Threads: the Java machine's
set -eu
ant -quiet -silent
