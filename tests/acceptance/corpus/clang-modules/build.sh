#!/bin/sh
# Packages: clang libc6-dev
# Varies: times of the headers in a precompiled module, `__TIMESTAMP__`, names in the module cache
set -eu
clang -fmodules -fmodules-cache-path=cache -g -o out/program main.c
clang -x c-header -o out/answer.pch include/answer.h
(cd cache && find . -name '*.pcm' | LC_ALL=C sort) >out/cache
find cache -name 'Answer*.pcm' -exec cp {} out/answer.pcm \;
