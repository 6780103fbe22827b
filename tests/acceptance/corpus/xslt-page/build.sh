#!/bin/sh
# Packages: xsltproc
# Varies: `date:date-time()`, and the ids of `generate-id()`, which come from addresses
set -eu
xsltproc --output out/page.html page.xsl book.xml
