#!/bin/sh
# Packages: imagemagick
# Varies: dates in chunks of a PNG, noise from a random seed
# Threads: those of OpenMP
set -eu
convert -size 32x32 xc:gray +noise Random noise.png
convert noise.png -resize 16x16 -comment 'half' out/noise.png
convert noise.png out/noise.tiff
convert -size 32x32 plasma:fractal out/plasma.miff
