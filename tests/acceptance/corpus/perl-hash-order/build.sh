#!/bin/sh
# Packages: perl
# Varies: order of hashes, `rand`, addresses of references, `localtime`, names of `File::Temp`
set -eu
perl generate.pl >out/table.pm
perl -c out/table.pm 2>out/checked
