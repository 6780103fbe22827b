/* others: threads that sleep, and whether one of them has run since. See nsbuild/supervisor/turns.py. */

#ifndef OTHERS_H
#define OTHERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

typedef struct {
	int fd;			/* its open /proc/TID/schedstat */
	unsigned long long runs;	/* how often it had been put on a CPU */
} Other;

typedef struct {
	Other *all;
	Py_ssize_t count;
} Others;

/* Take over a tuple of pairs; false with an exception. */
bool others_set(Others *others, PyObject *pairs);

/* Whether one of them has run, or is gone. */
bool others_ran(const Others *others);

#endif
