#!/bin/sh
# Packages: lua5.4
# Varies: addresses of tables and functions, order of `pairs`, `math.random`, `os.time`, `os.tmpname`
set -eu
lua5.4 generate.lua >table.lua
luac5.4 -o out/table.luac table.lua
cp table.lua out/
