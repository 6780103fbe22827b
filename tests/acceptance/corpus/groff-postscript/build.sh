#!/bin/sh
# Packages: groff
# Varies: `\n[year]` and its kin, process number, CreationDate of PostScript and PDF
set -eu
groff -Tps page.roff >out/page.ps
groff -Tpdf page.roff >out/page.pdf
