/*
 * Looks at ordinary files: regular ones, directories and links on a known mount that shows a disk; and
 * at pipes and sockets.
 *
 * This does for them what FileTimes.look and FileTimes.shown do (nsbuild/supervisor/filetimes.py), on the
 * same objects of Python's, so that nothing is known twice: it reads the attributes of a File where
 * __slots__ has put them, and calls File's and FileTimes' own methods for whatever changes one. So all
 * rules stay in Python, and what is saved is the way there.
 */

#include "files.h"

#include "slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	NSEC = 1000000000,
	BLOCK_SIZE = 4096,
	SECTORS = BLOCK_SIZE / 512,
	MAX_PATH = 4096,
};

/* In nanoseconds, kernel times of the years 1678 to 2261 have room in 64 bits. */
#define LAST_SECOND 9200000000

enum { NUMBER, IDENTITY, MTIME, ATIME, CHANGED, SEEN, OWN, MEMO, BTIME, EXPLICIT, SLOTS };

static const char *const slot_names[SLOTS] = {
	"number", "identity", "mtime", "atime", "changed", "seen", "own", "memo", "btime",
	"explicit",
};

typedef struct {
	PyObject_HEAD
	Py_ssize_t slots[SLOTS];	/* where File has them */
	Py_ssize_t device, transient;	/* where a Mount has them (nsbuild/supervisor/devices.py) */
	PyObject *file_type, *by_key, *mounts, *nowhere, *nameless, *meet, *meet_nameless, *start, *epoch;
	PyObject *settle, *dirty, *expect;
	int carries;			/* whether a later call of the build is told of each change */
	PyObject *look, *stamped;	/* names of methods */
} Files;

/* struct stat of the kernel (asm/stat.h). */
typedef struct {
	uint64_t dev, ino, nlink;
	uint32_t mode, uid, gid, pad;
	uint64_t rdev;
	int64_t size, blksize, blocks;
	int64_t atime, atime_nsec, mtime, mtime_nsec, ctime, ctime_nsec;
	int64_t unused[3];
} Stat;

_Static_assert(sizeof(Stat) == STAT_SIZE, "struct stat");

int look(const char *path, int flags, struct statx *file)
{
	return statx(AT_FDCWD, path, flags | AT_STATX_DONT_SYNC, WANTED, file);
}

/*
 * statx(directory, path, flags): what statx of nsbuild/kernel/files.py returns, the values of its STATX or an
 * errno. By way of ctypes and struct a look costs twice as much.
 */
PyObject *statx_values(PyObject *Py_UNUSED(module), PyObject *args)
{
	struct statx file;
	const char *path;
	int directory, flags;

	if (!PyArg_ParseTuple(args, "iyi", &directory, &path, &flags))
		return NULL;
	if (statx(directory, path, flags | AT_STATX_DONT_SYNC, WANTED, &file) < 0)
		return PyLong_FromLong(errno);
	return Py_BuildValue("(IIKIIIHKKKKLILILILIIIIIKII)", file.stx_mask, file.stx_blksize,
			     (unsigned long long)file.stx_attributes, file.stx_nlink, file.stx_uid,
			     file.stx_gid, file.stx_mode, (unsigned long long)file.stx_ino,
			     (unsigned long long)file.stx_size, (unsigned long long)file.stx_blocks,
			     (unsigned long long)file.stx_attributes_mask, (long long)file.stx_atime.tv_sec,
			     file.stx_atime.tv_nsec, (long long)file.stx_btime.tv_sec,
			     file.stx_btime.tv_nsec, (long long)file.stx_ctime.tv_sec,
			     file.stx_ctime.tv_nsec, (long long)file.stx_mtime.tv_sec,
			     file.stx_mtime.tv_nsec, file.stx_rdev_major, file.stx_rdev_minor,
			     file.stx_dev_major, file.stx_dev_minor, (unsigned long long)file.stx_mnt_id,
			     0u, 0u);
}

static PyObject **slot(Files *files, PyObject *file, int which)
{
	return slot_at(file, files->slots[which]);
}

static bool number_in(Files *files, PyObject *file, int which, int64_t *value)
{
	return as_number(*slot(files, file, which), value);
}

bool files_nanoseconds(int64_t seconds, int64_t rest, int64_t *value)
{
	if (seconds > LAST_SECOND || seconds < -LAST_SECOND || rest < 0 || rest >= NSEC)
		return false;
	*value = seconds * NSEC + rest;
	return true;
}

static bool nanoseconds(const struct statx_timestamp *time, int64_t *value)
{
	return files_nanoseconds(time->tv_sec, time->tv_nsec, value);
}

static void split(int64_t time, int64_t *seconds, int64_t *rest)
{
	*rest = time % NSEC;
	if (*rest < 0)
		*rest += NSEC;
	*seconds = (time - *rest) / NSEC;
}

/* As has_holes of blocks.py: Python counts what such a file has. */
static bool has_holes(const struct statx *kernel)
{
	return kernel->stx_size > BLOCK_SIZE && kernel->stx_blocks * 512 < kernel->stx_size;
}

/* The absolute path of what `path` names, as path_of of filetimes.py; its length, 0 for none. */
static int absolute_path(const char *path, int flags, char text[MAX_PATH])
{
	int nofollow = flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0;
	int fd = open(path, O_PATH | O_CLOEXEC | nofollow);
	char link[32];
	ssize_t size;

	if (fd < 0)
		return 0;
	sprintf(link, "self/fd/%d", fd);
	size = readlink(link, text, MAX_PATH);
	close(fd);
	/* What is deleted has this behind its path, but so may a file have that is there. */
	if (size <= 0 || size == MAX_PATH || *text != '/' || text[size - 1] == ')')
		return 0;
	return size;
}

/* A file that is met for the first time: what FileTimes makes of it. */
static PyObject *meet(Files *files, PyObject *process, PyObject *key, int64_t born, PyObject *mount,
		      PyObject *mount_id, const char *path, int flags)
{
	int nameless = PySet_Contains(files->nameless, mount_id);
	char text[MAX_PATH];
	int size;

	if (nameless)
		return nameless < 0 ? NULL
				    : PyObject_CallFunction(files->meet_nameless, "OLO", key,
							    (long long)born, process);
	size = mount == files->nowhere ? 0 : absolute_path(path, flags, text);
	return size ? PyObject_CallFunction(files->meet, "OLOy#", key, (long long)born, mount, text,
					    (Py_ssize_t)size)
		    : NULL;
}

/* The file with these numbers, a new reference; NULL for one that Python had better look for. */
static PyObject *find(Files *files, PyObject *process, const struct statx *kernel, PyObject *mount,
		      PyObject *mount_id, const char *path, int flags)
{
	PyObject *key, *file = NULL;
	int64_t born, identity;

	if (!nanoseconds(&kernel->stx_btime, &born))
		return NULL;
	key = Py_BuildValue("(KII)", (unsigned long long)kernel->stx_ino, kernel->stx_dev_major,
			    kernel->stx_dev_minor);
	if (!key)
		return NULL;
	file = PyDict_GetItemWithError(files->by_key, key);
	if (!file)
		file = PyErr_Occurred() ? NULL : meet(files, process, key, born, mount, mount_id, path, flags);
	else if (number_in(files, file, IDENTITY, &identity) && identity == born)
		Py_INCREF(file);
	else
		file = NULL;
	Py_DECREF(key);
	if (file && Py_TYPE(file) != (PyTypeObject *)files->file_type)
		Py_CLEAR(file);
	return file;
}

/* As FileTimes._take_notice: the file was written, or is met for the first time. */
static bool take_notice(Files *files, PyObject *file, int64_t mtime, const char *path, int flags,
			struct statx *kernel)
{
	struct timespec times[2];
	PyObject *now, *stamp, *done = NULL;
	struct statx again;
	int64_t value = 0, atime, rest;
	bool read = *slot(files, file, ATIME) != Py_None;
	int overflow = 0;

	if ((read && !number_in(files, file, ATIME, &atime)) || !(now = PyLong_FromLongLong(mtime)))
		return false;
	stamp = PyObject_CallMethodObjArgs(file, files->look, now, files->start, files->epoch, NULL);
	Py_DECREF(now);
	if (!stamp || stamp == Py_None) {
		Py_XDECREF(stamp);
		return stamp;
	}
	value = PyLong_AsLongLongAndOverflow(stamp, &overflow);
	Py_DECREF(stamp);
	split(value, &times[1].tv_sec, &rest);
	times[1].tv_nsec = rest;
	times[0] = times[1];
	if (read) {
		split(atime, &times[0].tv_sec, &rest);
		times[0].tv_nsec = rest;
	}
	if (!overflow && !PyErr_Occurred() &&
	    utimensat(AT_FDCWD, path, times, flags & AT_SYMLINK_NOFOLLOW) == 0 &&
	    look(path, flags, &again) == 0 && nanoseconds(&again.stx_mtime, &value))
		*kernel = again;
	else
		/* Not ours to change: known by the kernel's time, as far as that goes. */
		value = mtime;
	if (!PyErr_Occurred() && (now = PyLong_FromLongLong(value))) {
		done = PyObject_CallMethodOneArg(file, files->stamped, now);
		Py_DECREF(now);
	}
	Py_XDECREF(done);
	return done;
}

/* As FileTimes.shown and the packing of stat.py; false if it is for Python. */
static bool shown(Files *files, PyObject *file, PyObject *mount, const struct statx *kernel, Stat *stat,
		  int64_t *ahead)
{
	int64_t number, mtime, atime, changed, ctime;
	bool own = *slot(files, file, OWN) == Py_True;
	uint64_t device = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(mount, files->device));

	if (PyErr_Occurred() || !number_in(files, file, NUMBER, &number) ||
	    !number_in(files, file, MTIME, &mtime) || !number_in(files, file, CHANGED, &changed))
		return false;
	if (S_ISFIFO(kernel->stx_mode) || S_ISSOCK(kernel->stx_mode)) {
		/* The kernel made it: of no time, unless somebody has set one. */
		if (own || changed || *slot(files, file, BTIME) != Py_None ||
		    *slot(files, file, EXPLICIT) != Py_None || !as_number(files->epoch, &mtime))
			return false;
	}
	if (*slot(files, file, ATIME) == Py_None)
		atime = mtime;
	else if (!number_in(files, file, ATIME, &atime))
		return false;
	*ahead = own && mtime > changed ? mtime : changed;
	ctime = *ahead ? *ahead : mtime;
	memset(stat, 0, sizeof *stat);
	stat->dev = device;
	stat->ino = number;
	stat->nlink = kernel->stx_nlink;
	stat->mode = kernel->stx_mode;
	stat->uid = kernel->stx_uid;
	stat->gid = kernel->stx_gid;
	stat->size = kernel->stx_size;
	stat->blksize = BLOCK_SIZE;
	stat->blocks = kernel->stx_blocks;
	if (S_ISDIR(kernel->stx_mode)) {
		stat->nlink = kernel->stx_nlink > 0;
		stat->size = BLOCK_SIZE;
		stat->blocks = SECTORS;
	} else if (S_ISREG(kernel->stx_mode)) {
		if (has_holes(kernel))
			return false;
		stat->blocks = (kernel->stx_size + BLOCK_SIZE - 1) / BLOCK_SIZE * SECTORS;
	} else if (S_ISLNK(kernel->stx_mode)) {
		stat->blocks = 0;
	}
	split(atime, &stat->atime, &stat->atime_nsec);
	split(mtime, &stat->mtime, &stat->mtime_nsec);
	split(ctime, &stat->ctime, &stat->ctime_nsec);
	return true;
}

static bool is_ordinary(unsigned mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode);
}

/* The mount that this file is on, if it is known and shows a disk; a borrowed reference. */
static PyObject *disk_of(Files *files, PyObject *mount_id)
{
	PyObject *mount = mount_id ? PyDict_GetItemWithError(files->mounts, mount_id) : NULL;

	return mount && Py_TYPE(mount) == Py_TYPE(files->nowhere) &&
			       PyTuple_GET_ITEM(mount, files->transient) == Py_False
		       ? mount
		       : NULL;
}

bool files_settle(PyObject *self, unsigned tid)
{
	PyObject *left = PyObject_CallFunction(((Files *)self)->settle, "I", tid);
	bool settled = left == Py_False;

	Py_XDECREF(left);
	return settled;
}

bool files_on_disk(PyObject *self, const struct statx *kernel)
{
	PyObject *id = PyLong_FromUnsignedLongLong(kernel->stx_mnt_id);
	bool found = disk_of((Files *)self, id);

	Py_XDECREF(id);
	return found;
}

/* As files_seen; `*mount`, a new reference as well, is what it is on. */
static PyObject *seen_on(Files *files, PyObject *process, const char *path, int flags,
			 struct statx *kernel, PyObject **mount)
{
	PyObject *file = NULL, *id;
	int64_t mtime, seen;

	*mount = NULL;
	if (!is_ordinary(kernel->stx_mode) || !nanoseconds(&kernel->stx_mtime, &mtime))
		return NULL;
	id = PyLong_FromUnsignedLongLong(kernel->stx_mnt_id);
	*mount = disk_of(files, id);
	Py_XINCREF(*mount);
	if (*mount)
		file = find(files, process, kernel, *mount, id, path, flags);
	if (file && !(number_in(files, file, SEEN, &seen) && seen == mtime) &&
	    !take_notice(files, file, mtime, path, flags, kernel))
		Py_CLEAR(file);
	Py_XDECREF(id);
	return file;
}

PyObject *files_seen(PyObject *self, PyObject *process, const char *path, int flags, struct statx *kernel)
{
	PyObject *mount, *file = seen_on((Files *)self, process, path, flags, kernel, &mount);

	Py_XDECREF(mount);
	return file;
}

Memo *files_memo(PyObject *self, PyObject *process, const char *path, int flags, struct statx *kernel)
{
	Files *files = (Files *)self;
	PyObject *mount, *memo = NULL;
	PyObject *file = seen_on(files, process, path, flags, kernel, &mount);
	int64_t ahead;
	Stat stat;

	if (file && shown(files, file, mount, kernel, &stat, &ahead))
		memo = memo_make(kernel, &stat, ahead);
	if (memo)
		Py_XSETREF(*slot(files, file, MEMO), memo);
	Py_XDECREF(file);
	Py_XDECREF(mount);
	return (Memo *)memo;
}

/* entry(process, path): the number and the type of an entry of a directory, None if it is for Python. */
static PyObject *files_entry(Files *files, PyObject *args)
{
	PyObject *process, *mount = NULL, *file = NULL, *entry = NULL;
	struct statx kernel;
	const char *path;

	if (!PyArg_ParseTuple(args, "Oy", &process, &path))
		return NULL;
	if (look(path, AT_SYMLINK_NOFOLLOW, &kernel) == 0)
		file = seen_on(files, process, path, AT_SYMLINK_NOFOLLOW, &kernel, &mount);
	if (file)
		entry = Py_BuildValue("(Oi)", *slot(files, file, NUMBER), kernel.stx_mode >> 12);
	Py_XDECREF(file);
	Py_XDECREF(mount);
	return entry || PyErr_Occurred() ? entry : Py_NewRef(Py_None);
}

static PyMethodDef files_methods[] = {
	{ "entry", (PyCFunction)files_entry, METH_VARARGS, "entry(process, path) -> (number, type) or None" },
	{ NULL, NULL, 0, NULL },
};

bool files_is_dirty(PyObject *self, PyObject *file)
{
	return PyDict_Contains(((Files *)self)->dirty, file) == 1;
}

bool files_may_change(PyObject *self, PyObject *file)
{
	return !((Files *)self)->carries || files_is_dirty(self, file);
}

bool files_latest(PyObject *self, PyObject *file, int64_t *time)
{
	Files *files = (Files *)self;
	int64_t changed, mtime;

	if (!number_in(files, file, CHANGED, &changed) || !number_in(files, file, MTIME, &mtime))
		return false;
	*time = *slot(files, file, OWN) == Py_True && mtime > changed ? mtime : changed;
	return true;
}

bool files_expect(PyObject *self, PyObject *process, unsigned tid, int parent, const char *name, PyObject *now)
{
	PyObject *done = PyObject_CallFunction(((Files *)self)->expect, "OIiyO", process, tid, parent,
					       name, now);

	Py_XDECREF(done);
	return done != NULL;
}

/* The place of the field `name` in the named tuple `tuple`; -1 with an exception. */
static Py_ssize_t field_of(PyObject *tuple, const char *name)
{
	PyObject *fields = PyObject_GetAttrString(tuple, "_fields");
	PyObject *text = fields ? PyUnicode_FromString(name) : NULL;
	Py_ssize_t place = text ? PySequence_Index(fields, text) : -1;

	Py_XDECREF(text);
	Py_XDECREF(fields);
	return place;
}

static PyObject *files_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	Files *files = (Files *)type->tp_alloc(type, 0);
	PyObject *held[12];

	if (!files || !PyArg_ParseTuple(args, "O!O!O!O!O!OOO!O!OO!Op", &PyType_Type, &held[0],
					&PyDict_Type, &held[1], &PyDict_Type, &held[2], &PyTuple_Type,
					&held[3], &PySet_Type, &held[4], &held[5], &held[6], &PyLong_Type, &held[7],
					&PyLong_Type, &held[8], &held[9], &PyDict_Type, &held[10],
					&held[11], &files->carries)) {
		Py_XDECREF(files);
		return NULL;
	}
	files->file_type = Py_NewRef(held[0]);
	files->by_key = Py_NewRef(held[1]);
	files->mounts = Py_NewRef(held[2]);
	files->nowhere = Py_NewRef(held[3]);
	files->nameless = Py_NewRef(held[4]);
	files->meet = Py_NewRef(held[5]);
	files->meet_nameless = Py_NewRef(held[6]);
	files->start = Py_NewRef(held[7]);
	files->epoch = Py_NewRef(held[8]);
	files->settle = Py_NewRef(held[9]);
	files->dirty = Py_NewRef(held[10]);
	files->expect = Py_NewRef(held[11]);
	files->look = PyUnicode_InternFromString("look");
	files->stamped = PyUnicode_InternFromString("stamped");
	for (int i = 0; i < SLOTS && !PyErr_Occurred(); i++)
		files->slots[i] = slot_offset(files->file_type, slot_names[i]);
	if (PyErr_Occurred() || (files->device = field_of(files->nowhere, "device")) < 0 ||
	    (files->transient = field_of(files->nowhere, "transient")) < 0)
		Py_CLEAR(files);
	return (PyObject *)files;
}

static void files_dealloc(Files *files)
{
	Py_XDECREF(files->file_type);
	Py_XDECREF(files->by_key);
	Py_XDECREF(files->mounts);
	Py_XDECREF(files->nowhere);
	Py_XDECREF(files->nameless);
	Py_XDECREF(files->meet);
	Py_XDECREF(files->meet_nameless);
	Py_XDECREF(files->start);
	Py_XDECREF(files->epoch);
	Py_XDECREF(files->settle);
	Py_XDECREF(files->dirty);
	Py_XDECREF(files->expect);
	Py_XDECREF(files->look);
	Py_XDECREF(files->stamped);
	Py_TYPE(files)->tp_free((PyObject *)files);
}

PyTypeObject FilesType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "nsbuild._hotcalls.Files",
	.tp_doc = "Files(File, by_key, mounts, nowhere, nameless, meet, meet_nameless, start, epoch, settle, dirty, expect, carries)",
	.tp_basicsize = sizeof(Files),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = files_new,
	.tp_dealloc = (destructor)files_dealloc,
	.tp_methods = files_methods,
};
