#!/bin/sh
# Packages: golang-go
# Varies: the order of a map and the date in a source that go generate makes, and with it the program
# Threads: those of Go's runtime and tool
set -eu
export GOCACHE="$TMPDIR/cache" GOFLAGS=-mod=mod GO111MODULE=on GOTOOLCHAIN=local
go generate ./...
go build -o out/colours .
cp table.go out/
