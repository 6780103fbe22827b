#!/bin/sh
# Packages: golang-go gcc
# Varies: a time that the C part of a Go program is given
# Threads: the go tool's
set -eu
CGO_CFLAGS="-DBUILT=$(date +%s%N)"
export CGO_CFLAGS GOFLAGS=-mod=mod GOCACHE="$PWD/cache" GOPATH="$PWD/go"
go build -o out/program .
out/program >out/said
