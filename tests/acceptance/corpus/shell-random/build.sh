#!/bin/bash
# Packages: util-linux
# Varies: `$RANDOM`, `$$`, `$EPOCHREALTIME`, `ls -i`, `mktemp`, `sort -R`, `shuf`, `uuidgen`, `mcookie`
set -eu
bash collect.sh
