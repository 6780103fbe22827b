#!/bin/sh
# Packages: python3
# Varies: times of the sources in .pyc files
set -eu
python3 -m compileall -q -j 2 package
cp -r package/__pycache__ out/
python3 -m zipapp package -m words:main -o out/package.pyz
