#!/bin/sh
# Packages: mercurial
# Varies: dates of commits and so their names, the dirstate with times of files
set -eu
hg init repository
cd repository
for number in 1 2; do
	date >"file-$number"
	hg --quiet commit --addremove --user A --message "Add $number"
done
hg --quiet bundle --all ../out/small.hg
hg log --debug >../out/log
cp .hg/dirstate ../out/
