/* Readings of the caller's own clocks. See times.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <sys/sysinfo.h>

struct Hot;

/* Where a Process has what is needed, and the names of what Python does. */
typedef struct {
	Py_ssize_t clock, has_children;
	PyObject *merge;	/* moves a Process up to the children that it has reaped */
	PyObject *next_wall, *next_monotonic, *next_cpu, *wall, *monotonic, *read_cpu;
	char sysinfo[sizeof(struct sysinfo)];	/* what sysinfo(2) gives, but for the uptime */
} Times;

/* False with an exception if one of them is not as it should be. */
bool times_init(Times *times, PyObject *process_type, PyObject *merge, PyObject *sysinfo);

void times_clear(Times *times);

/* Let `process` move up to the children that it has reaped, before its clock counts. False with an exception. */
bool times_catch_up(const Times *times, PyObject *process);

/* `process` is about to end: the same, for the last time. */
bool times_leave(const Times *times, PyObject *process);

/* Whether the call that was received is a reading that was given. */
bool answer_time(struct Hot *hot);
