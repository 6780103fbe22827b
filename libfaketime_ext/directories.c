/*
 * The end of a directory: every second getdents finds that all has been read. The lists of what there is, and
 * whatever gives a part of one, are Python's (nsbuild/supervisor/answers/directories.py).
 */

#include "hot.h"
#include "slots.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

bool directories_init(Directories *directories, PyObject *process_type)
{
	directories->pidfd = slot_offset(process_type, "pidfd");
	directories->listings = slot_offset(process_type, "listings");
	directories->key = PyUnicode_InternFromString("key");
	directories->names = PyUnicode_InternFromString("names");
	return !PyErr_Occurred();
}

void directories_clear(Directories *directories)
{
	Py_CLEAR(directories->key);
	Py_CLEAR(directories->names);
}

/* Whether this is the directory that was listed: its device and inode are `key`. */
static bool is_same(PyObject *key, const struct stat *file)
{
	int64_t device, inode;

	return key && PyTuple_Check(key) && PyTuple_GET_SIZE(key) == 2 &&
	       as_number(PyTuple_GET_ITEM(key, 0), &device) && (dev_t)device == file->st_dev &&
	       as_number(PyTuple_GET_ITEM(key, 1), &inode) && (ino_t)inode == file->st_ino;
}

/* Whether the caller has read all of `listing` by its descriptor `fd`. */
static bool is_at_end(const Hot *hot, PyObject *process, PyObject *listing, int fd)
{
	PyObject *key = NULL, *names = NULL;
	int64_t pidfd;
	struct stat file;
	bool end = false;
	int ours;

	if (!as_number(*slot_at(process, hot->directories.pidfd), &pidfd) ||
	    (ours = syscall(SYS_pidfd_getfd, (int)pidfd, fd, 0)) < 0)
		return false;
	key = PyObject_GetAttr(listing, hot->directories.key);
	names = PyObject_GetAttr(listing, hot->directories.names);
	/* The position is kept where the kernel keeps it, so it counts entries as the list does. */
	if (names && PyList_Check(names) && fstat(ours, &file) == 0 && S_ISDIR(file.st_mode) &&
	    file.st_nlink && is_same(key, &file))
		end = lseek(ours, 0, SEEK_CUR) >= PyList_GET_SIZE(names);
	close(ours);
	Py_XDECREF(key);
	Py_XDECREF(names);
	return end;
}

bool answer_end(Hot *hot)
{
	PyObject *process = hot->processes[hot->call->pid], *number, *listings, *listing;
	int nr = hot->call->data.nr, fd = (int)hot->call->data.args[0];
	bool end;

	if ((nr != SYS_getdents64 && nr != SYS_getdents) || fd < 0 || !settled(hot))
		return false;
	listings = *slot_at(process, hot->directories.listings);
	number = PyLong_FromLong(fd);
	if (!number || !listings || !PyDict_Check(listings)) {
		Py_XDECREF(number);
		return false;
	}
	listing = PyDict_GetItemWithError(listings, number);
	end = listing && is_at_end(hot, process, listing, fd) && PyDict_DelItem(listings, number) == 0;
	Py_DECREF(number);
	return end && respond(hot, 0, 0);
}
