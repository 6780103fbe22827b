#!/bin/bash
# A package of autoconf and automake: the build environment is sane, and nothing is made twice.
cat >configure.ac <<'END'
AC_INIT([small], [1.0])
AM_INIT_AUTOMAKE([foreign])
AC_PROG_CC
AC_CONFIG_HEADERS([config.h])
AC_CONFIG_FILES([Makefile])
AC_OUTPUT
END
printf 'bin_PROGRAMS = small\nsmall_SOURCES = main.c\n' >Makefile.am
printf '#include <config.h>\nint main(void) { return 0; }\n' >main.c

autoreconf -i >/dev/null 2>&1
has "checking whether build environment is sane... yes" ./configure
lacks "skew" make
lacks "config.status" make
lacks "missing" make
lacks "gcc" make
second
touch main.c
has "main.c" make -n
make >/dev/null
lacks "gcc" make
second
touch Makefile.am
has "automake" make
lacks "automake" make
make dist >/dev/null
mkdir out
tar -xf small-1.0.tar.gz
cd small-1.0 || exit
has "build environment is sane... yes" ./configure
lacks "automake-" make
