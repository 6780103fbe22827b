#!/bin/bash
set -eu
echo "$RANDOM $SRANDOM $$ $BASHPID $EPOCHREALTIME $SECONDS" >out/variables
(echo "$BASHPID" & wait) | tee out/subshell | sha256sum >out/pipeline
ls -lid --full-time . >out/inode
file=$(mktemp XXXXXXXXXX)
echo "$file" >out/temporary
seq 40 | sort -R >out/sorted
shuf -i 1-40 >out/shuffled
uuidgen --random >out/uuids
uuidgen --time >>out/uuids
mcookie >>out/uuids
awk 'BEGIN { srand(); print rand(), srand() }' >out/awk
head -c 32 /dev/urandom | base64 >out/urandom
: >"out/sleep-$( (time sleep 0.01) 2>&1 | tr -dc 0-9)"
