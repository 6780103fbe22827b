#!/bin/sh
# Packages: build-essential
# Varies: a table made by a program with `random_device`, addresses as keys, and clocks
set -eu
g++ -O1 -o generate generate.cc -pthread
./generate >table.inc
g++ -O1 -o out/program main.cc
cp table.inc out/
