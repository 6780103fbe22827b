/* Directories that are read. See directories.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

struct Hot;

/* Where a Process has what is needed, and the names of what a Listing has. */
typedef struct {
	Py_ssize_t pidfd, listings;
	PyObject *key, *names;
} Directories;

/* False with an exception if the type is not as it should be. */
bool directories_init(Directories *directories, PyObject *process_type);

void directories_clear(Directories *directories);

/* Whether the call that was received is a read at the end of a directory, and was answered. */
bool answer_end(struct Hot *hot);
