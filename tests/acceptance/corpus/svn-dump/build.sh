#!/bin/sh
# Packages: subversion
# Varies: UUID of the repository, dates of its revisions
set -eu
svnadmin create repository
svn --quiet --non-interactive import -m Begin tree "file://$PWD/repository"
svnadmin dump --quiet repository >out/dump
svn --quiet checkout "file://$PWD/repository" checkout
cp repository/db/uuid repository/db/fs-type out/
svn info checkout | grep -v -e Path: -e URL: >out/info
