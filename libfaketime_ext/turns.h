/* Turns: whether a call may overtake that of a thread which was held up. See turns.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* Python's own objects, and where a Turn and its Watch have their attributes. */
typedef struct {
	PyObject *known, *free, *asleep, *left;	/* dicts of Turn by thread */
	PyObject *kept;				/* a list */
	PyTypeObject *type;
	Py_ssize_t watch, runs, place, since, busy, fd, stat, tid;
} Turns;

/* Of None as well, for a Turns that is not asked; false with an exception. */
bool turns_init(Turns *turns, PyObject *python);

void turns_clear(Turns *turns);

/*
 * Whether none of those that stand before `caller`, a Turn or None, has to be waited for; false also if that
 * cannot be told, perhaps with an exception.
 */
bool turns_rest(const Turns *turns, PyObject *caller, int listener);

/*
 * The thread's Turn, borrowed, if it waits for nobody; NULL if it does, perhaps with an exception. Calls that
 * have not been received yet wait at the descriptor `listener`.
 */
PyObject *turns_may_call(const Turns *turns, unsigned tid, int listener);

/* Whether the next answer to the thread changes nothing: there is nobody else. */
bool turns_alone(const Turns *turns, PyObject *turn);

/* How often the thread has run is noted, while it waits for its answer. False if that cannot be told. */
bool turns_note(const Turns *turns, PyObject *turn);

/* The thread has been answered: it stands behind all others. False with an exception. */
bool turns_let_go(const Turns *turns, PyObject *turn);
