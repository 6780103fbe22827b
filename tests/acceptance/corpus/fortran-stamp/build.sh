#!/bin/sh
# Packages: gfortran
# Varies: a table from `random_number` and `date_and_time`, written unformatted
set -eu
gfortran -O1 -J tmp -o generate table.f90 generate.f90
./generate
cp tmp/table.mod out/
