#!/bin/sh
# Packages: nodejs
# Commands: npm
# Varies: the version, which has the time in it, a file that the prepack script writes, and npm's log of what it did when
# Threads: of node's pool
set -eu
npm version --no-git-tag-version "1.0.1-$(date +%s)" >out/version
npm pack --pack-destination out >out/name
cp "$HOME"/.npm/_logs/* out/
