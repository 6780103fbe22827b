#!/bin/sh
# Packages: python3
# Varies: order of sets of strings (PYTHONHASHSEED is unset), `id()`, a pickle, names of `tempfile`
set -eu
python3 generate.py out
