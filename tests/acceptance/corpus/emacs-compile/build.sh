#!/bin/sh
# Packages: emacs-nox
# Varies: time, process number and random number evaluated at compile time; an export of an org file
set -eu
emacs --quick --batch --funcall batch-byte-compile stamp.el 2>tmp/said
emacs --quick --batch --visit notes.org --funcall org-html-export-to-html 2>tmp/said
cp stamp.elc notes.html out/
