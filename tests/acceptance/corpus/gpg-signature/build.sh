#!/bin/sh
# Packages: gnupg
# Varies: time of a signature, and of the file in a signed message
set -eu
export GNUPGHOME="$PWD/keys"
mkdir -m 700 keys
gpg="gpg --batch --quiet --no-tty --pinentry-mode=loopback --passphrase="
$gpg --import key.asc
$gpg --armor --output out/signed.asc --detach-sign build.sh
$gpg --output out/message.gpg --sign build.sh
$gpg --clearsign --output out/clear.asc build.sh
gpgconf --kill all
