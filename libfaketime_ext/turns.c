/*
 * The usual cases of nsbuild/supervisor/turns.py, on the same objects: none of those that stand before
 * the caller, and none of those that sleep, has been put on a CPU since; or who has waits for another
 * again, as the two ends of a pipe do in turns. Whatever is otherwise, Python looks at.
 */

#include "turns.h"

#include "slots.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static PyObject *attribute(PyObject *object, const char *name, PyTypeObject *type)
{
	PyObject *found = PyObject_GetAttrString(object, name);

	if (found && Py_TYPE(found) != type) {
		PyErr_Format(PyExc_TypeError, "%s is no %s", name, type->tp_name);
		Py_CLEAR(found);
	}
	return found;
}

bool turns_init(Turns *turns, PyObject *python)
{
	PyObject *type, *watch;

	if (python == Py_None)
		return true;
	turns->known = attribute(python, "known", &PyDict_Type);
	turns->free = attribute(python, "free", &PyDict_Type);
	turns->asleep = attribute(python, "asleep", &PyDict_Type);
	turns->left = attribute(python, "left", &PyDict_Type);
	turns->kept = attribute(python, "kept", &PyList_Type);
	type = PyObject_GetAttrString(python, "turn_type");
	watch = PyObject_GetAttrString(python, "watch_type");
	if (PyErr_Occurred())
		return false;
	turns->watch = slot_offset(type, "watch");
	turns->runs = slot_offset(type, "runs");
	turns->place = slot_offset(type, "place");
	turns->since = slot_offset(type, "asleep");
	turns->busy = slot_offset(type, "busy");
	turns->fd = slot_offset(watch, "fd");
	turns->stat = slot_offset(watch, "stat");
	turns->tid = slot_offset(watch, "tid");
	Py_DECREF(watch);
	turns->type = (PyTypeObject *)type;
	return !PyErr_Occurred();
}

void turns_clear(Turns *turns)
{
	Py_CLEAR(turns->known);
	Py_CLEAR(turns->free);
	Py_CLEAR(turns->asleep);
	Py_CLEAR(turns->left);
	Py_CLEAR(turns->kept);
	Py_CLEAR(turns->type);
}

/* How often the thread of a Turn has been put on a CPU; -1 if that cannot be told. */
static int64_t runs_of(const Turns *turns, PyObject *turn)
{
	PyObject *watch = *slot_at(turn, turns->watch);
	char text[128], *rest = text;
	ssize_t size;
	int64_t fd;

	if (!watch || !as_number(*slot_at(watch, turns->fd), &fd))
		return -1;
	size = pread((int)fd, text, sizeof text - 1, 0);
	if (size <= 0)
		return -1;
	text[size] = '\0';
	/* Its time on a CPU, its time in the queue. */
	strtoull(rest, &rest, 10);
	strtoull(rest, &rest, 10);
	return (int64_t)strtoull(rest, NULL, 10);
}

/* Let it stand at the end of `place`, as Turns._put; false with an exception. */
static bool put(const Turns *turns, PyObject *turn, PyObject *place)
{
	PyObject **now = slot_at(turn, turns->place);
	PyObject *number = *slot_at(*slot_at(turn, turns->watch), turns->tid);
	bool done;

	Py_INCREF(turn);
	done = (*now == Py_None || PyDict_DelItem(*now, number) == 0) &&
	       PyDict_SetItem(place, number, turn) == 0;
	if (done) {
		Py_XSETREF(*now, Py_NewRef(place));
		Py_XSETREF(*slot_at(turn, turns->since), Py_NewRef(Py_None));
		Py_XSETREF(*slot_at(turn, turns->busy), Py_NewRef(Py_None));
	}
	Py_DECREF(turn);
	return done;
}

/* Its open /proc/PID/stat, as in Watch.state; -1 if that cannot be had, perhaps with an exception. */
static int stat_of(const Turns *turns, PyObject *turn, PyObject *watch)
{
	PyObject *held;
	char path[64];
	int64_t fd, tid;
	int opened;

	if (!as_number(*slot_at(watch, turns->stat), &fd) || !as_number(*slot_at(watch, turns->tid), &tid))
		return -1;
	if (fd >= 0)
		return (int)fd;
	snprintf(path, sizeof path, "%lld/task/%lld/stat", (long long)tid, (long long)tid);
	opened = open(path, O_RDONLY | O_CLOEXEC);
	/* The number may have been another's already. */
	if (opened >= 0 && runs_of(turns, turn) >= 0 && (held = PyLong_FromLong(opened))) {
		Py_XSETREF(*slot_at(watch, turns->stat), held);
		return opened;
	}
	if (opened >= 0)
		close(opened);
	return -1;
}

/* Its state as in proc_pid_stat(5), 0 if it cannot be told. */
static char state_of(const Turns *turns, PyObject *turn, PyObject *watch)
{
	int fd = stat_of(turns, turn, watch);
	char text[512], *end;
	ssize_t size;

	if (fd < 0)
		return 0;
	size = pread(fd, text, sizeof text - 1, 0);
	if (size <= 0)
		return 0;
	text[size] = '\0';
	end = strrchr(text, ')');
	return end && end[1] ? end[2] : 0;
}

/* Whether it sleeps until a child ends, as Watch.waits_for_child; -1 if that cannot be told. */
static int waits_for_child(int64_t tid)
{
	char text[256];
	ssize_t size;
	int fd, number;

	snprintf(text, sizeof text, "%lld/syscall", (long long)tid);
	fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	size = read(fd, text, sizeof text - 1);
	close(fd);
	if (size <= 0)
		return -1;
	text[size] = '\0';
	return sscanf(text, "%d", &number) == 1 && (number == SYS_wait4 || number == SYS_waitid);
}

/* Whether nobody has called us that we have not heard yet: who has sleeps as well. */
static bool all_heard(int listener)
{
	struct pollfd waiting = { .fd = listener, .events = POLLIN };

	return poll(&waiting, 1, 0) == 0;
}

enum { RESTS, RAN, UNKNOWN };

/*
 * Whether it has run since. Who has, and waits for another by now, is given another place, and its runs are
 * noted; whoever else may have, and what cannot be told, is for Python.
 */
static int look_at(const Turns *turns, PyObject *turn, int listener)
{
	PyObject *watch, *runs;
	int64_t before, now, tid;
	int child;

	if (Py_TYPE(turn) != turns->type || !as_number(*slot_at(turn, turns->runs), &before))
		return UNKNOWN;
	now = runs_of(turns, turn);
	if (now >= 0 && now == before)
		return RESTS;
	watch = *slot_at(turn, turns->watch);
	if (now < 0 || state_of(turns, turn, watch) != 'S' || !all_heard(listener) ||
	    !as_number(*slot_at(watch, turns->tid), &tid))
		return UNKNOWN;
	child = waits_for_child(tid);
	runs = child < 0 ? NULL : PyLong_FromLongLong(now);
	if (!runs)
		return UNKNOWN;
	Py_XSETREF(*slot_at(turn, turns->runs), runs);
	return put(turns, turn, child ? turns->left : turns->asleep) ? RAN : UNKNOWN;
}

/* Look at all in `place`, or at those before the caller; whether none of them is one to wait for. */
static bool none_awaited(const Turns *turns, PyObject *place, PyObject *caller, bool all, int listener)
{
	Py_ssize_t position = 0;
	PyObject *one;

	while (PyDict_Next(place, &position, NULL, &one)) {
		int found;

		if (one == caller && !all)
			break;
		if (one == caller)
			continue;
		found = look_at(turns, one, listener);
		if (found == UNKNOWN)
			return false;
		if (found == RAN)
			/* The place is another one now. */
			position = 0;
	}
	return true;
}

bool turns_rest(const Turns *turns, PyObject *caller, int listener)
{
	return !PyList_GET_SIZE(turns->kept) &&
	       none_awaited(turns, turns->free, caller, false, listener) &&
	       none_awaited(turns, turns->asleep, caller, true, listener);
}

PyObject *turns_may_call(const Turns *turns, unsigned tid, int listener)
{
	PyObject *number = PyLong_FromUnsignedLong(tid);
	PyObject *caller = number ? PyDict_GetItemWithError(turns->known, number) : NULL;

	Py_XDECREF(number);
	return caller && Py_TYPE(caller) == turns->type && turns_rest(turns, caller, listener) ? caller
											       : NULL;
}

bool turns_alone(const Turns *turns, PyObject *turn)
{
	return *slot_at(turn, turns->place) == turns->free && PyDict_GET_SIZE(turns->free) == 1;
}

bool turns_note(const Turns *turns, PyObject *turn)
{
	/* Not when it is answered: we may be held up then, and it would have run. */
	int64_t now = runs_of(turns, turn);
	PyObject *runs = now < 0 ? NULL : PyLong_FromLongLong(now);

	if (runs)
		Py_XSETREF(*slot_at(turn, turns->runs), runs);
	return runs != NULL;
}

bool turns_let_go(const Turns *turns, PyObject *turn)
{
	return put(turns, turn, turns->free);
}
