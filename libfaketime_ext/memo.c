/*
 * A table of memos by what the kernel says of a file. Python makes one when it has worked out what is
 * shown, and drops it when that does not hold any more; here they are only looked up.
 */

#include "memo.h"

#include <string.h>

#define BUCKETS (1 << 15)

static Memo *table[BUCKETS];

static unsigned bucket(const struct statx *file)
{
	uint64_t key = file->stx_ino * 0x9E3779B97F4A7C15u ^ file->stx_dev_minor ^ file->stx_mnt_id << 7;

	return (key >> 24) % BUCKETS;
}

#define SAME(field) (a->field == b->field)

static bool same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return SAME(tv_sec) && SAME(tv_nsec);
}

/* All but the time of the last access, which depends on how the host has mounted the file system. */
static bool same(const struct statx *a, const struct statx *b)
{
	return SAME(stx_ino) && SAME(stx_dev_major) && SAME(stx_dev_minor) && SAME(stx_mnt_id) &&
	       SAME(stx_nlink) && SAME(stx_uid) && SAME(stx_gid) && SAME(stx_mode) &&
	       SAME(stx_size) && SAME(stx_blocks) && SAME(stx_rdev_major) &&
	       SAME(stx_rdev_minor) && same_time(&a->stx_btime, &b->stx_btime) &&
	       same_time(&a->stx_ctime, &b->stx_ctime) && same_time(&a->stx_mtime, &b->stx_mtime);
}

PyObject *memo_make(const struct statx *kernel, const void *shown, int64_t ahead)
{
	Memo **place = &table[bucket(kernel)];
	Memo *memo = (Memo *)MemoType.tp_alloc(&MemoType, 0);

	if (memo) {
		memo->kernel = *kernel;
		memcpy(memo->shown, shown, STAT_SIZE);
		memo->ahead = ahead;
		memo->next = *place;
		*place = memo;
	}
	return (PyObject *)memo;
}

static PyObject *memo_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	Py_buffer kernel, shown;
	long long ahead;
	PyObject *memo = NULL;

	if (!PyArg_ParseTuple(args, "y*y*L", &kernel, &shown, &ahead))
		return NULL;
	if (kernel.len == sizeof(struct statx) && shown.len == STAT_SIZE)
		memo = memo_make(kernel.buf, shown.buf, ahead);
	else
		PyErr_SetString(PyExc_ValueError, "not a struct statx and a struct stat");
	PyBuffer_Release(&kernel);
	PyBuffer_Release(&shown);
	return memo;
}

static void memo_dealloc(Memo *memo)
{
	Memo **place = &table[bucket(&memo->kernel)];

	while (*place != memo)
		place = &(*place)->next;
	*place = memo->next;
	Py_TYPE(memo)->tp_free((PyObject *)memo);
}

PyTypeObject MemoType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "nsbuild._hotcalls.Memo",
	.tp_doc = "Memo(struct statx, struct stat, ahead): what is shown of a file.",
	.tp_basicsize = sizeof(Memo),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = memo_new,
	.tp_dealloc = (destructor)memo_dealloc,
};

Memo *memo_of(const struct statx *file)
{
	for (Memo *memo = table[bucket(file)]; memo; memo = memo->next)
		if (same(&memo->kernel, file))
			return memo;
	return NULL;
}
