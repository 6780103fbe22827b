/* What is shown of files that were not looked at before, or were written since. See files.c. */

#pragma once

#include "memo.h"

/* Everything that is asked of a file system, as in nsbuild/kernel/files.py. */
#define WANTED (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

extern PyTypeObject FilesType;

PyObject *statx_values(PyObject *module, PyObject *args);

/* statx(2) as the supervisor does it, which never asks a file system's server. */
int look(const char *path, int flags, struct statx *file);

/*
 * Look for the files that were about to be made, of which those of thread `tid` are there by now; whether
 * that is done with all. False with an exception, too.
 */
bool files_settle(PyObject *files, unsigned tid);

/* Whether the file of which the kernel says this is on a known mount that shows a disk. */
bool files_on_disk(PyObject *files, const struct statx *file);

/*
 * A memo for `process` of the file at `path`, of which the kernel says `*file`; that is brought up to date.
 * NULL for a file that Python had better look at, or with an exception. Never an own reference: the file keeps it.
 */
Memo *files_memo(PyObject *files, PyObject *process, const char *path, int flags, struct statx *file);

/* The File of the same, brought up to date: a new reference, or NULL as above. */
PyObject *files_seen(PyObject *files, PyObject *process, const char *path, int flags, struct statx *file);

/* Whether `file` is known to have been written, and by which path. */
bool files_is_dirty(PyObject *files, PyObject *file);

/* Whether no path of `file` has to be known before its inode changes. */
bool files_may_change(PyObject *files, PyObject *file);

/* The latest of the times of `file` that come from a clock of the build, 0 for none; false for none of 64 bits. */
bool files_latest(PyObject *files, PyObject *file, int64_t *time);

/*
 * `process` is about to make `name` in the directory `parent`, a descriptor that is Python's from here on.
 * False with an exception.
 */
bool files_expect(PyObject *files, PyObject *process, unsigned tid, int parent, const char *name, PyObject *now);

/* One number for a time; false if it has no room for that, or if it is not a time. */
bool files_nanoseconds(int64_t seconds, int64_t rest, int64_t *value);
