/* Memos: what is shown of the files that were looked at. See memo.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define STAT_SIZE 144

/* What is shown of a file. Not owned by the table: it goes when Python forgets it. */
typedef struct Memo {
	PyObject_HEAD
	struct Memo *next;
	struct statx kernel;
	char shown[STAT_SIZE];
	int64_t ahead;
} Memo;

extern PyTypeObject MemoType;

/* The memo of a file of which the kernel says this, or NULL. */
Memo *memo_of(const struct statx *file);

/* A new memo of it, shown as the STAT_SIZE bytes at `shown`. */
PyObject *memo_make(const struct statx *kernel, const void *shown, int64_t ahead);
