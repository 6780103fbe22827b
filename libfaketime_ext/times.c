/*
 * Readings of clocks, as nsbuild/supervisor/answers/time.py gives them: which reading is next and what a
 * reading moves is left to the methods of Python's own Clock and Process, and so is whether a process
 * with children has to move up to theirs first. What is no clock, or cannot be written, is Python's.
 */

#include "hot.h"
#include "slots.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000
#define ONE_OF(number, set) ((number) < 32 && (set) >> (number) & 1)

enum {
	WALL = 1 << CLOCK_REALTIME | 1 << CLOCK_REALTIME_COARSE | 1 << CLOCK_REALTIME_ALARM |
	       1 << CLOCK_TAI,
	MONOTONIC = 1 << CLOCK_MONOTONIC | 1 << CLOCK_MONOTONIC_RAW | 1 << CLOCK_MONOTONIC_COARSE |
		    1 << CLOCK_BOOTTIME | 1 << CLOCK_BOOTTIME_ALARM,
	CPU = 1 << CLOCK_PROCESS_CPUTIME_ID | 1 << CLOCK_THREAD_CPUTIME_ID,
};

/* What a call reads, where it is written in which form, and what it returns. */
typedef struct {
	unsigned clocks;	/* the set that its clock is in */
	uint64_t buffer;	/* 0 for nowhere */
	size_t size;
	int divisor;		/* of nanoseconds, for what stands behind the seconds; 0 if they do not */
	bool returned;		/* whether the seconds are returned as well */
} Reading;

bool times_init(Times *times, PyObject *process_type, PyObject *merge, PyObject *sysinfo)
{
	times->merge = Py_NewRef(merge);
	if (PyBytes_GET_SIZE(sysinfo) != sizeof times->sysinfo) {
		PyErr_SetString(PyExc_ValueError, "not a struct sysinfo");
		return false;
	}
	memcpy(times->sysinfo, PyBytes_AS_STRING(sysinfo), sizeof times->sysinfo);
	times->clock = slot_offset(process_type, "clock");
	times->has_children = slot_offset(process_type, "has_children");
	times->next_wall = PyUnicode_InternFromString("next_wall");
	times->next_monotonic = PyUnicode_InternFromString("next_monotonic");
	times->next_cpu = PyUnicode_InternFromString("next_cpu");
	times->wall = PyUnicode_InternFromString("wall");
	times->monotonic = PyUnicode_InternFromString("monotonic");
	times->read_cpu = PyUnicode_InternFromString("read_cpu");
	return !PyErr_Occurred();
}

void times_clear(Times *times)
{
	Py_CLEAR(times->merge);
	Py_CLEAR(times->next_wall);
	Py_CLEAR(times->next_monotonic);
	Py_CLEAR(times->next_cpu);
	Py_CLEAR(times->wall);
	Py_CLEAR(times->monotonic);
	Py_CLEAR(times->read_cpu);
}

/* The reading that `call` asks for; false if Python had better look at it. */
static bool reading_of(const struct seccomp_data *call, Reading *reading)
{
	const __u64 *args = call->args;
	unsigned which = (unsigned)args[0];

	*reading = (Reading){ .clocks = WALL, .buffer = args[0], .size = 16, .divisor = 1 };
	switch (call->nr) {
	case SYS_clock_gettime:
		reading->clocks = ONE_OF(which, WALL)	     ? WALL
				  : ONE_OF(which, MONOTONIC) ? MONOTONIC
				  : ONE_OF(which, CPU)	     ? CPU
							     : 0;
		reading->buffer = args[1];
		return reading->clocks && reading->buffer;
	case SYS_gettimeofday:
		reading->divisor = 1000;
		return reading->buffer && !args[1];
	case SYS_time:
		reading->size = 8;
		reading->returned = true;
		return true;
	case SYS_sysinfo:
		/* The uptime stands first; the rest is what it ever is. */
		reading->clocks = MONOTONIC;
		reading->size = sizeof(struct sysinfo);
		reading->divisor = 0;
		return reading->buffer;
	case SYS_getrusage:
		/* All CPU time is user time, which stands first; everything else is 0. */
		reading->clocks = CPU;
		reading->buffer = args[1];
		reading->size = sizeof(struct rusage);
		reading->divisor = 1000;
		return (which == RUSAGE_SELF || which == RUSAGE_THREAD) && reading->buffer;
	}
	return false;
}

bool times_catch_up(const Times *times, PyObject *process)
{
	PyObject *done;

	if (*slot_at(process, times->has_children) == Py_False)
		return true;
	done = PyObject_CallOneArg(times->merge, process);
	Py_XDECREF(done);
	return done != NULL;
}

bool times_leave(const Times *times, PyObject *process)
{
	if (!times_catch_up(times, process))
		return false;
	/* From here on init reaps its children, at any time. */
	Py_XSETREF(*slot_at(process, times->has_children), Py_NewRef(Py_False));
	return true;
}

/* What the caller's next reading is: a new reference, NULL perhaps with an exception. */
static PyObject *next_reading(const Times *times, PyObject *process, PyObject *clock, unsigned clocks)
{
	if (!clock || !times_catch_up(times, process))
		return NULL;
	return clocks == CPU ? PyObject_CallMethodNoArgs(process, times->next_cpu)
			     : PyObject_CallMethodNoArgs(clock, clocks == WALL ? times->next_wall
									       : times->next_monotonic);
}

/* The reading has been given; false with an exception. */
static bool move(const Times *times, PyObject *process, PyObject *clock, unsigned clocks, PyObject *value)
{
	PyObject *done;

	if (clocks != CPU)
		return PyObject_SetAttr(clock, clocks == WALL ? times->wall : times->monotonic, value) == 0;
	done = PyObject_CallMethodOneArg(process, times->read_cpu, value);
	Py_XDECREF(done);
	return done != NULL;
}

/* Write the reading, answer the call, and let the clock move if it was taken. */
static bool give(Hot *hot, const Reading *reading, PyObject *value)
{
	PyObject *process = hot->processes[hot->call->pid];
	PyObject *clock = *slot_at(process, hot->times.clock);
	int64_t written[sizeof(struct rusage) / sizeof(int64_t)] = { 0 }, now;
	lldiv_t parts;

	if (!as_number(value, &now) || now < 0)
		return false;
	parts = lldiv(now, NSEC_PER_SEC);
	if (reading->divisor)
		written[1] = parts.rem / reading->divisor;
	else
		memcpy(written, hot->times.sysinfo, sizeof hot->times.sysinfo);
	written[0] = parts.quot;
	if (reading->buffer && !write_guest(hot, reading->buffer, written, reading->size))
		return false;
	if (!send_answer(hot, reading->returned ? parts.quot : 0, 0, 0))
		return true;
	if (reading->clocks == WALL)
		hot->walls[hot->call->pid] = now;
	return move(&hot->times, process, clock, reading->clocks, value);
}

bool answer_time(Hot *hot)
{
	PyObject *process = hot->processes[hot->call->pid], *value;
	Reading reading;
	bool given;

	if (!reading_of(&hot->call->data, &reading))
		return false;
	value = next_reading(&hot->times, process, *slot_at(process, hot->times.clock), reading.clocks);
	given = value && give(hot, &reading, value);
	Py_XDECREF(value);
	return given;
}
