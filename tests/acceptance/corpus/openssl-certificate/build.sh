#!/bin/sh
# Packages: openssl
# Varies: keys, serial numbers and dates of certificates, nonces, salts
set -eu
openssl req -x509 -newkey rsa:2048 -nodes -keyout out/root.key -out out/root.pem -days 30 -subj /CN=Root 2>tmp/said
openssl ecparam -name prime256v1 -genkey -noout -out out/leaf.key
openssl req -new -key out/leaf.key -subj /CN=leaf.example.org -out tmp/leaf.csr
openssl x509 -req -in tmp/leaf.csr -CA out/root.pem -CAkey out/root.key -CAcreateserial -out out/leaf.pem 2>tmp/said
openssl dgst -sha256 -sign out/leaf.key -out out/signature build.sh
openssl passwd -6 word >out/password
openssl enc -aes-256-cbc -pbkdf2 -k word -in build.sh -out out/secret
