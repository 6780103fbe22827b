#!/bin/sh
# Packages: r-base-core
# Varies: dates in the package, random numbers of an unseeded generator, times in its archive
set -eu
R CMD build --no-build-vignettes --no-manual small >tmp/said
cp small_0.1.tar.gz out/
Rscript --vanilla generate.R out/table.rds out/plot.pdf
