#!/bin/sh
# Packages: sqlite3
# Varies: `random()`, `randomblob`, `datetime('now')`, and what stays of them in a database and a dump
set -eu
sqlite3 out/words.db <schema.sql
sqlite3 out/words.db .dump >out/words.sql
