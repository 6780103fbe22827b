#!/bin/sh
# Packages: ghostscript
# Varies: dates, id and UUID of the PDF, `realtime`
set -eu
gs -q -dNOPAUSE -dBATCH -sDEVICE=pdfwrite -sOutputFile=out/page.pdf page.ps
