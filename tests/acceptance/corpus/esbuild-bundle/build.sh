#!/bin/sh
# Packages: esbuild
# Varies: a time that is given as a definition, a banner with a random name, and so the hashes in the names of the files
# Threads: of Go's runtime
set -eu
esbuild src/main.js --bundle --minify --sourcemap --outdir=out --entry-names='[name]-[hash]' \
	--metafile=out/meta.json --define:BUILT="\"$(date +%s%N)\"" --banner:js="/* $(mktemp -u) */"
