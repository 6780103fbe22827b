/*
 * Writers: what nsbuild/supervisor/answers/write.py does for the ordinary one of each kind, such as an
 * archive's unpacking and a tree's removal are made of. The kernel does them all. Before, the file is looked
 * at; after that, it remembers them as an event at one reading of the caller's clock. What an event does to
 * a File is left to the methods of Python's own, as is the reading.
 *
 * Left to Python is what would have to be entered by its path: the first event of a file or a directory that
 * was there before. And whatever else is not as usual, above all what the kernel will refuse.
 */

#include "hot.h"
#include "slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool changes_init(Changes *changes)
{
	changes->change = PyUnicode_InternFromString("change");
	changes->write = PyUnicode_InternFromString("write");
	changes->set_times = PyUnicode_InternFromString("set_times");
	return !PyErr_Occurred();
}

void changes_clear(Changes *changes)
{
	Py_CLEAR(changes->change);
	Py_CLEAR(changes->write);
	Py_CLEAR(changes->set_times);
}

static PyObject *caller(const Hot *hot)
{
	return hot->processes[hot->call->pid];
}

/*
 * The reading at which something is about to happen, a new reference; NULL if that is for Python. Who writes
 * to `file` could have seen what was there before, so the clock moves up to it; NULL for no file.
 */
static PyObject *next_time(const Hot *hot, PyObject *file)
{
	const Times *times = &hot->times;
	PyObject *clock = *slot_at(caller(hot), times->clock), *held;
	int64_t wall, latest = 0;
	bool known;

	if (!clock || !times_catch_up(times, caller(hot)) ||
	    (file && !files_latest(hot->files, file, &latest)))
		return NULL;
	held = PyObject_GetAttr(clock, times->wall);
	known = as_number(held, &wall);
	Py_XDECREF(held);
	if (!known)
		return NULL;
	if (latest > wall) {
		bool moved = (held = PyLong_FromLongLong(latest)) &&
			     PyObject_SetAttr(clock, times->wall, held) == 0;

		Py_XDECREF(held);
		if (!moved)
			return NULL;
	}
	return PyObject_CallMethodNoArgs(clock, times->next_wall);
}

/* Let the kernel do it, at the time `now`; whether it will. False with an exception, too. */
static bool goes_on(Hot *hot, PyObject *now)
{
	int64_t wall;

	if (!send_answer(hot, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE) ||
	    PyObject_SetAttr(*slot_at(caller(hot), hot->times.clock), hot->times.wall, now) < 0)
		return false;
	if (as_number(now, &wall))
		hot->walls[hot->call->pid] = wall;
	return true;
}

static bool call(PyObject *object, PyObject *method, PyObject *argument)
{
	PyObject *done = PyObject_CallMethodOneArg(object, method, argument);

	Py_XDECREF(done);
	return done != NULL;
}

/* The file that a link of /proc leads to, as it is now: a new reference, NULL if that is for Python. */
static PyObject *seen_at(Hot *hot, const char *link, struct statx *kernel)
{
	return look(link, 0, kernel) == 0 ? files_seen(hot->files, caller(hot), link, 0, kernel) : NULL;
}

/*
 * The file that `path`, as we can use it, leads to for the guest, through a link at its end or not: a new
 * reference, NULL if that is for Python. `*absent` says that nothing is there.
 */
static PyObject *seen(Hot *hot, const char *path, bool through, struct statx *kernel, bool *absent)
{
	PyObject *file;
	char link[32];
	int found;

	if (is_plain(hot)) {
		int flags = through ? 0 : AT_SYMLINK_NOFOLLOW;
		bool there = look(path, flags, kernel) == 0;

		*absent = !there && errno == ENOENT;
		return there ? files_seen(hot->files, caller(hot), path, flags, kernel) : NULL;
	}
	found = open_for_guest(hot, path, through ? 0 : O_NOFOLLOW);
	*absent = found == -1 && errno == ENOENT;
	if (found < 0)
		return NULL;
	sprintf(link, "self/fd/%d", found);
	file = seen_at(hot, link, kernel);
	close(found);
	return file;
}

/* What utimensat(2) is to set: numbers, None to leave one alone, or NULL for the time of the call. */
typedef struct {
	PyObject *mtime, *atime;
} Asked;

static bool set_times(const Hot *hot, PyObject *file, const Asked *asked, PyObject *now)
{
	PyObject *done = PyObject_CallMethodObjArgs(file, hot->changes.set_times, asked->mtime,
						    asked->atime ? asked->atime : now, NULL);

	Py_XDECREF(done);
	return done != NULL;
}

/* The inode of `file`, a reference of ours, is about to change; its times if `asked` is not NULL. */
static bool change(Hot *hot, PyObject *file, const Asked *asked)
{
	PyObject *now = NULL;
	bool done = false;

	if (file && files_may_change(hot->files, file) && (now = next_time(hot, file)))
		done = !goes_on(hot, now) || (call(file, hot->changes.change, now) &&
					      (!asked || set_times(hot, file, asked, now)));
	Py_XDECREF(now);
	Py_XDECREF(file);
	return done && !PyErr_Occurred();
}

static bool change_fd(Hot *hot, int fd, const Asked *asked)
{
	struct statx kernel;

	if (fd < 0 || !settled(hot))
		return false;
	snprintf(hot->path, sizeof hot->path, "%u/fd/%d", hot->call->pid, fd);
	return change(hot, seen_at(hot, hot->path, &kernel), asked);
}

/*
 * The descriptor that `path` of the guest's own /proc stands for, -1 for none: so the C library does what the
 * kernel's fchmodat(2) cannot. We cannot follow that link: we have no process in that /proc.
 */
static int own_fd(const Hot *hot, const char *path)
{
	static const char links[] = "/proc/self/fd/";
	const char *digits = path + sizeof links - 1;
	struct statx file;

	if (strncmp(path, links, sizeof links - 1) != 0 || strlen(digits) > 9 || !*digits ||
	    strspn(digits, "0123456789") != strlen(digits))
		return -1;
	return hot->proc_mount && is_plain(hot) && look("/proc", 0, &file) == 0 &&
			       file.stx_mnt_id == hot->proc_mount
		       ? atoi(digits)
		       : -1;
}

/* The same of what the guest's path leads to. */
static bool change_at(Hot *hot, int dirfd, uint64_t address, unsigned flags, const Asked *asked)
{
	struct statx kernel;
	int length, fd;
	bool absent;

	if (!settled(hot))
		return false;
	length = read_path(hot, address, ROOM);
	if (length == 0 && flags & AT_EMPTY_PATH)
		return change_fd(hot, dirfd, asked);
	if (length > 0 && !(flags & AT_SYMLINK_NOFOLLOW) && (fd = own_fd(hot, hot->path + ROOM)) >= 0)
		return change_fd(hot, fd, asked);
	return length > 0 && change(hot,
				    seen(hot, from_here(hot, dirfd), !(flags & AT_SYMLINK_NOFOLLOW),
					 &kernel, &absent),
				    asked);
}

/* One time of utimensat(2): a number or None as a new reference, NULL for now; false if it is for Python. */
static bool asked_time(const struct timespec *time, PyObject **value)
{
	int64_t nanoseconds;

	*value = NULL;
	if (time->tv_nsec == UTIME_NOW)
		return true;
	if (time->tv_nsec == UTIME_OMIT) {
		*value = Py_NewRef(Py_None);
		return true;
	}
	if (!files_nanoseconds(time->tv_sec, time->tv_nsec, &nanoseconds))
		return false;
	*value = PyLong_FromLongLong(nanoseconds);
	return *value;
}

static bool change_times(Hot *hot, int dirfd, uint64_t address, uint64_t buffer, unsigned flags)
{
	struct timespec times[2];
	Asked asked = { NULL, NULL };
	bool done = false;

	if (!buffer || read_guest(hot, buffer, times, sizeof times) != sizeof times)
		return false;
	/* A content's time of now is a write, and nothing to be set is nothing to be done. */
	if (asked_time(&times[0], &asked.atime) && asked_time(&times[1], &asked.mtime) && asked.mtime &&
	    !(asked.mtime == Py_None && asked.atime == Py_None))
		done = address ? change_at(hot, dirfd, address, flags, &asked)
			       : change_fd(hot, dirfd, &asked);
	Py_XDECREF(asked.atime);
	Py_XDECREF(asked.mtime);
	return done;
}

/* Cut the last name off `path`, which is as we can use it; false if it is not the name of anything. */
static bool cut(char *path, char name[SHORT_PATH])
{
	char *slash = strrchr(path, '/');

	snprintf(name, SHORT_PATH, "%s", slash + 1);
	slash[1] = 0;
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* `file`, a reference, if it is a directory in which something has been entered before; else NULL. */
static PyObject *as_parent(const Hot *hot, PyObject *file, const struct statx *kernel)
{
	if (file && !(S_ISDIR(kernel->stx_mode) && files_is_dirty(hot->files, file)))
		Py_CLEAR(file);
	return file;
}

/* What is at `path`, which nothing is, is about to be made. */
static bool birth(Hot *hot, char *path)
{
	PyObject *parent, *now = NULL;
	char name[SHORT_PATH], link[32];
	int fd = cut(path, name) ? open_for_guest(hot, path, O_DIRECTORY) : -1;
	struct statx kernel;
	bool done = false;

	if (fd < 0)
		return false;
	sprintf(link, "self/fd/%d", fd);
	parent = as_parent(hot, seen_at(hot, link, &kernel), &kernel);
	if (parent && (now = next_time(hot, NULL))) {
		done = true;
		if (goes_on(hot, now)) {
			hot->pending = true;
			done = call(parent, hot->changes.write, now) &&
			       files_expect(hot->files, caller(hot), hot->call->pid, fd, name, now);
			fd = -1;
		}
	}
	if (fd >= 0)
		close(fd);
	Py_XDECREF(now);
	Py_XDECREF(parent);
	return done && !PyErr_Occurred();
}

/* Let the kernel do what changes nothing that we know of. */
static bool no_event(Hot *hot)
{
	return respond(hot, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* What the guest's path says is about to be made; if something is there, nothing is. */
static bool make(Hot *hot, int dirfd, uint64_t address)
{
	struct statx kernel;
	PyObject *file;
	bool absent;
	char *path;

	if (!settled(hot) || read_path(hot, address, ROOM) <= 0)
		return false;
	path = from_here(hot, dirfd);
	file = seen(hot, path, false, &kernel, &absent);
	Py_XDECREF(file);
	return absent ? birth(hot, path) : file && no_event(hot);
}

/* The content of `file`, a reference of ours, may change. */
static bool write_to(Hot *hot, PyObject *file)
{
	PyObject *now = NULL;
	bool done = false;

	if (files_is_dirty(hot->files, file) && (now = next_time(hot, file)))
		done = !goes_on(hot, now) || call(file, hot->changes.write, now);
	Py_XDECREF(now);
	Py_DECREF(file);
	return done && !PyErr_Occurred();
}

/* Whether it is a node of the device that swallows what is written to it. */
static bool is_null(const struct statx *file)
{
	return S_ISCHR(file->stx_mode) && file->stx_rdev_major == 1 && file->stx_rdev_minor == 3;
}

static bool open_to_write(Hot *hot, int dirfd, uint64_t address, unsigned flags)
{
	bool writes = flags & (O_WRONLY | O_RDWR | O_TRUNC), creates = flags & O_CREAT, absent;
	struct statx kernel = { 0 };
	PyObject *file;
	char *path;

	if (!(writes || creates) || flags & (O_PATH | O_TMPFILE) || !settled(hot) ||
	    read_path(hot, address, ROOM) <= 0)
		return false;
	path = from_here(hot, dirfd);
	/* A link that is there would have to be followed, perhaps to what is not. */
	file = seen(hot, path, !(creates || flags & O_NOFOLLOW), &kernel, &absent);
	if (absent)
		return creates && birth(hot, path);
	if (file && writes && !(creates && flags & O_EXCL) && S_ISREG(kernel.stx_mode))
		return write_to(hot, file);
	Py_XDECREF(file);
	return !file && is_null(&kernel) && no_event(hot);
}

/* Something that has no other name is about to be removed, or nothing. */
static bool unlink_at(Hot *hot, int dirfd, uint64_t address)
{
	PyObject *file, *parent = NULL, *now = NULL;
	char name[SHORT_PATH], *path;
	struct statx kernel;
	bool absent, done = false;

	if (!settled(hot) || read_path(hot, address, ROOM) <= 0)
		return false;
	path = from_here(hot, dirfd);
	file = seen(hot, path, false, &kernel, &absent);
	if (absent)
		return no_event(hot);
	if (file && (S_ISDIR(kernel.stx_mode) || kernel.stx_nlink == 1) && cut(path, name))
		parent = as_parent(hot, seen(hot, path, true, &kernel, &absent), &kernel);
	Py_XDECREF(file);
	if (parent && (now = next_time(hot, NULL)))
		done = !goes_on(hot, now) || call(parent, hot->changes.write, now);
	Py_XDECREF(now);
	Py_XDECREF(parent);
	return done && !PyErr_Occurred();
}

bool answer_change(Hot *hot)
{
	const struct seccomp_data *data = &hot->call->data;
	const __u64 *args = data->args;

	switch (data->nr) {
	case SYS_openat:
		return open_to_write(hot, (int)args[0], args[1], (unsigned)args[2]);
	case SYS_open:
		return open_to_write(hot, AT_FDCWD, args[0], (unsigned)args[1]);
	case SYS_fchmod:
	case SYS_fchown:
		return change_fd(hot, (int)args[0], NULL);
	case SYS_chmod:
	case SYS_chown:
		return change_at(hot, AT_FDCWD, args[0], 0, NULL);
	case SYS_lchown:
		return change_at(hot, AT_FDCWD, args[0], AT_SYMLINK_NOFOLLOW, NULL);
	case SYS_fchmodat:
		return change_at(hot, (int)args[0], args[1], 0, NULL);
	case SYS_fchownat:
		return change_at(hot, (int)args[0], args[1], (unsigned)args[4], NULL);
	case SYS_utimensat:
		return change_times(hot, (int)args[0], args[1], args[2], (unsigned)args[3]);
	case SYS_mkdir:
		return make(hot, AT_FDCWD, args[0]);
	case SYS_mkdirat:
		return make(hot, (int)args[0], args[1]);
	case SYS_symlink:
		return make(hot, AT_FDCWD, args[1]);
	case SYS_symlinkat:
		return make(hot, (int)args[1], args[2]);
	case SYS_unlink:
	case SYS_rmdir:
		return unlink_at(hot, AT_FDCWD, args[0]);
	case SYS_unlinkat:
		return unlink_at(hot, (int)args[0], args[1]);
	}
	return false;
}
