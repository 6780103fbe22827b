/*
 * The usual case of nsbuild/supervisor/turns.py, on the same objects: none of those that stand before
 * the caller, and none of those that sleep, has been put on a CPU since. Whatever is otherwise, Python
 * looks at.
 */

#include "turns.h"

#include "slots.h"

#include <stdlib.h>
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
	Py_DECREF(watch);
	turns->type = (PyTypeObject *)type;
	return !PyErr_Occurred();
}

void turns_clear(Turns *turns)
{
	Py_CLEAR(turns->known);
	Py_CLEAR(turns->free);
	Py_CLEAR(turns->asleep);
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

/* Whether it has run since, or that cannot be told. */
static bool has_run(const Turns *turns, PyObject *turn)
{
	int64_t before, now;

	if (Py_TYPE(turn) != turns->type || !as_number(*slot_at(turn, turns->runs), &before))
		return true;
	now = runs_of(turns, turn);
	return now < 0 || now != before;
}

static bool any_has_run(const Turns *turns, PyObject *place, PyObject *caller, bool all)
{
	Py_ssize_t position = 0;
	PyObject *one;

	while (PyDict_Next(place, &position, NULL, &one)) {
		if (one == caller && !all)
			break;
		if (one != caller && has_run(turns, one))
			return true;
	}
	return false;
}

PyObject *turns_may_call(const Turns *turns, unsigned tid)
{
	PyObject *number = PyLong_FromUnsignedLong(tid);
	PyObject *caller = number ? PyDict_GetItemWithError(turns->known, number) : NULL;

	Py_XDECREF(number);
	if (!caller || Py_TYPE(caller) != turns->type || PyList_GET_SIZE(turns->kept) ||
	    any_has_run(turns, turns->free, caller, false) ||
	    any_has_run(turns, turns->asleep, caller, true))
		return NULL;
	return caller;
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
	PyObject **place = slot_at(turn, turns->place);
	PyObject *watch = *slot_at(turn, turns->watch), *number;
	bool done;

	number = PyObject_GetAttrString(watch, "tid");
	if (!number)
		return false;
	Py_INCREF(turn);
	done = (*place == Py_None || PyDict_DelItem(*place, number) == 0) &&
	       PyDict_SetItem(turns->free, number, turn) == 0;
	Py_DECREF(number);
	if (done) {
		Py_XSETREF(*place, Py_NewRef(turns->free));
		Py_XSETREF(*slot_at(turn, turns->since), Py_NewRef(Py_None));
		Py_XSETREF(*slot_at(turn, turns->busy), Py_NewRef(Py_None));
	}
	Py_DECREF(turn);
	return done;
}
