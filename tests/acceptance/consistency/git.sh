#!/bin/bash
# git trusts the times, sizes and numbers in its index.
export HOME=$PWD GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org
export GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
git init -q -b main origin
cd origin || exit
mkdir sub
for number in 1 2 3 4 5 6 7 8 9; do echo "text $number" >"sub/file-$number"; done
git add .
git commit -q -m first
says "" git status --porcelain
cd "$OLDPWD" || exit

git clone -q origin clone
cd clone || exit
says "" git status --porcelain
second
touch sub/file-1 sub/file-2
second
has "sum_scan:2" env GIT_TRACE2_PERF=1 git status --porcelain
# What git has read again it does not read a second time.
says "" git status --porcelain
tick
has "sum_scan:0" env GIT_TRACE2_PERF=1 git status --porcelain
says "" git update-index --refresh
says "" git diff-files

# Changed at once after the index was written, and of the same size.
echo "TEXT 3" >sub/file-3
says " M sub/file-3" git status --porcelain
git add .
echo "text 4" >sub/file-3
says "MM sub/file-3" git status --porcelain
git checkout -q HEAD -- sub/file-3
says "" git status --porcelain
git mv sub/file-4 sub/file-four
says "R  sub/file-4 -> sub/file-four" git status --porcelain
git reset -q --hard
says "" git status --porcelain
echo new >sub/new
says "?? sub/new" git status --porcelain
git config core.untrackedCache true
git update-index --untracked-cache
says "?? sub/new" git status --porcelain
tick
echo newer >sub/newer
says "$(printf '?? sub/new\n?? sub/newer')" git status --porcelain
rm sub/new
says "?? sub/newer" git status --porcelain
rm sub/newer
says "" git status --porcelain
git gc -q
says "" git fsck --no-progress --no-dangling
says "" git status --porcelain
