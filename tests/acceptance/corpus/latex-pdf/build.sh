#!/bin/sh
# Packages: texlive-latex-base
# Varies: dates and the id of the PDF, `\today`, seconds and random numbers of the engine
set -eu
pdflatex -interaction=batchmode -halt-on-error notes.tex >tmp/said
pdflatex -interaction=batchmode -halt-on-error notes.tex >tmp/said
cp notes.pdf notes.log out/
