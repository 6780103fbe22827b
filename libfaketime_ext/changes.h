/* Calls after which a file is not what it was. See changes.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

struct Hot;

/* The names of what Python does. */
typedef struct {
	PyObject *change, *write, *set_times;
} Changes;

/* False with an exception. */
bool changes_init(Changes *changes);

void changes_clear(Changes *changes);

/* Whether the call that was received is one of these, and the kernel was let go on with it. */
bool answer_change(struct Hot *hot);
