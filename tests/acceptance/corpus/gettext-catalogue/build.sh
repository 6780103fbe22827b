#!/bin/sh
# Packages: gettext
# Varies: `POT-Creation-Date` and `PO-Revision-Date`, which have minutes and the machine's time zone
# Elsewhere: TZ=Asia/Kathmandu
set -eu
xgettext --package-name=small -o out/small.pot small.c
msginit --no-translator --locale=de -i out/small.pot -o out/de.po 2>tmp/said
msgfmt -o out/de.mo out/de.po
