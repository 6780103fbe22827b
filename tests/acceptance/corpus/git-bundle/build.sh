#!/bin/sh
# Packages: git
# Varies: times of commits and so their names, the index with times and inode numbers, a bundle
# Threads: of the packer
set -eu
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
git init --quiet --initial-branch=main
for number in 1 2 3; do
	date >"file-$number"
	git add "file-$number"
	git commit --quiet -m "Add $number"
done
git tag -a -m tagged v1
git bundle create --quiet out/small.bundle --all
git archive --format=tar.gz -o out/small.tar.gz HEAD
cp .git/index .git/logs/HEAD out/
git log --format=fuller >out/log
