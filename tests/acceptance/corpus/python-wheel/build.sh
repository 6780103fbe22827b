#!/bin/sh
# Packages: python3 python3-setuptools python3-wheel
# Varies: times in the wheel and in the source archive, a version with the date in it
set -eu
python3 setup.py --quiet sdist --dist-dir out bdist_wheel --dist-dir out 2>tmp/said
