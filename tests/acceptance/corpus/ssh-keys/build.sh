#!/bin/sh
# Packages: openssh-client
# Varies: host keys, salts of hashed names, nonces of a certificate
set -eu
ssh-keygen -q -t ed25519 -N '' -C '' -f out/host
ssh-keygen -q -t ecdsa -N word -C '' -f out/user
ssh-keygen -q -s out/host -I me -n me -V +1d -z 1 out/user.pub
printf 'example.org %s\n' "$(cat out/host.pub)" >out/known
ssh-keygen -q -H -f out/known 2>tmp/said
rm -f out/known.old
