#!/bin/sh
# Packages: nodejs
# Varies: `Math.random` for chunk names, `Date`, `randomUUID`, the order in which directories and files came
# Threads: of the file system's pool
set -eu
node bundle.mjs src out
