#!/bin/bash
# make does what is to be done, once, and never speaks of clocks.
cat >Makefile <<'END'
all: program sub/stamp
program: main.o part.o
	cat $^ >$@
%.o: %.c
	cat $< >$@
main.o: generated.h
generated.h: Makefile
	echo generated >$@
sub/stamp: main.o | sub
	touch $@
sub:
	mkdir sub
END
echo main >main.c
echo part >part.c

lacks "skew" make
lacks "future" make
says "make: Nothing to be done for 'all'." make
make -q

# What is written after a build is newer than the build, at once.
tick
echo changed >part.c
has "cat part.c" make
says "make: Nothing to be done for 'all'." make
tick
touch generated.h
has "cat main.c" make
says "make: Nothing to be done for 'all'." make
tick
touch main.c
has "cat main.c" make -n
make -t
make -q
rm part.o
has "cat part.c" make
make -q

tick
# A background job's time is known to whoever sees its file, though nobody has waited for it.
mkfifo told
(
  sleep "$LATER"
  echo late >part.c
  echo told >told
) &
read -r _ <told
lacks "skew" make
make -q
wait
