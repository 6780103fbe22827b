#!/bin/bash
# Packages: util-linux
# Varies: `$RANDOM`, `$$`, `$SECONDS`, `ls -i`, `mktemp`, `sort -R`, `shuf`, `uuidgen`, `mcookie`
set -eu
bash collect.sh
