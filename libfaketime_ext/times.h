/* Readings of the caller's own clocks. See times.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

struct Hot;

/* Where a Process has what is needed, and the names of what Python does. */
typedef struct {
	Py_ssize_t clock, has_children;
	PyObject *next_wall, *next_monotonic, *next_cpu, *wall, *monotonic, *read_cpu;
} Times;

/* False with an exception if the type is not as it should be. */
bool times_init(Times *times, PyObject *process_type);

void times_clear(Times *times);

/* Whether the call that was received is a reading that was given. */
bool answer_time(struct Hot *hot);
