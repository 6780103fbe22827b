#!/bin/bash
# ninja keeps the times of what it made in a log, and those of headers in another.
cat >build.ninja <<'END'
rule cc
  command = gcc -MMD -MF $out.d -c $in -o $out
  depfile = $out.d
  deps = gcc
rule link
  command = gcc $in -o $out
rule generate
  command = cmp -s $in $out || cp $in $out
  restat = 1
build header.h: generate header.in
build main.o: cc main.c | header.h
build program: link main.o
default program
END
echo '#define VALUE 0' >header.in
printf '#include "header.h"\nint main(void) { return VALUE; }\n' >main.c

ninja
says "ninja: no work to do." ninja
tick
touch main.c
has "-c main.c" ninja
says "ninja: no work to do." ninja
# Made again but the same, so nothing that depends on it is made.
tick
touch header.in
lacks "-c main.c" ninja
says "ninja: no work to do." ninja
tick
echo '#define VALUE 3' >header.in
has "-c main.c" ninja
says "ninja: no work to do." ninja
status=0
./program || status=$?
[ "$status" -eq 3 ] || fail "built from an old header"
