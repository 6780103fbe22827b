#!/bin/sh
# Packages: gnupg
# Varies: random numbers and times of new keys
# Options: --cpu-model=baseline
# Its library adds what the processor's own source of random numbers says, unless it is told not to.
set -eu
export GNUPGHOME="$PWD/keys"
mkdir -m 700 keys
gpg="gpg --batch --quiet --no-tty --pinentry-mode=loopback --passphrase="
$gpg --quick-generate-key "A <a@example.org>" rsa2048 sign 0
$gpg --quick-generate-key "B <b@example.org>" ed25519 sign 1y
$gpg --armor --output out/public.asc --export
$gpg --armor --output out/secret.asc --export-secret-keys
gpgconf --kill all
