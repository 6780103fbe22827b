#!/bin/sh
# Packages: fossil
# Varies: project code, password and dates in a repository that is an SQLite file
set -eu
fossil init --admin-user a out/small.fossil >out/said
