#!/bin/bash
# cmake generates again only when its input is newer.
mkdir source
printf 'int main(void) { return 0; }\n' >source/main.c
cat >source/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.20)
project(small C)
configure_file(config.in config.h)
add_executable(small main.c)
END
echo '#define VALUE 0' >source/config.in

cmake -S source -B build -G "Unix Makefiles" >/dev/null
lacks "skew" cmake --build build
has "Built target small" cmake --build build
lacks "Building" cmake --build build
lacks "Configuring" cmake --build build
second
touch source/main.c
has "Building" cmake --build build
lacks "Building" cmake --build build
second
touch source/config.in
has "Configuring" cmake --build build
lacks "Configuring" cmake --build build
