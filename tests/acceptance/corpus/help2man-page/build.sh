#!/bin/sh
# Packages: help2man perl man-db
# Varies: the month of the page; here also the program, whose version is its time of installation
set -eu
install -m 755 small.sh tmp/small
help2man --no-info --output=out/small.1 tmp/small
MANWIDTH=80 man -l out/small.1 >out/small.txt
