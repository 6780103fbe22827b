#!/bin/sh
# Packages: golang-go git
# Varies: the commit and its time that go writes into a program, and a time given with `-X`
# Threads: the go tool's and the program's
set -eu
export GOFLAGS=-mod=mod GOCACHE="$PWD/cache" GOPATH="$PWD/go"
git init --quiet
git -c user.name=A -c user.email=a@example.org commit --quiet --allow-empty -m "Begin"
go build -buildvcs=true -ldflags "-X main.built=$(date +%s.%N)" -o out/program .
go version -m out/program >out/modules
