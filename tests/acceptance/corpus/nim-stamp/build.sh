#!/bin/sh
# Packages: nim gcc libc6-dev
# Varies: `CompileDate` and `CompileTime`, output of a command run by `staticExec`
set -eu
nim c --hints:off --verbosity:0 --nimcache:cache --out:out/small small.nim
cp cache/@msmall.nim.c out/
