#!/bin/sh
# Packages: ocaml-nox
# Varies: a randomised `Hashtbl`, `Random.self_init`, the time, names of temporary files in objects
set -eu
ocamlc -o generate unix.cma generate.ml
./generate >table.ml
ocamlopt -g -o out/program table.ml main.ml
cp table.ml table.cmx table.o out/
