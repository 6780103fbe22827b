/*
 * hotcalls: the calls that a build makes most, answered without running any Python.
 *
 * Eight of nine notified calls are a stat, an open of a file that is shown as it is, or a short getrandom;
 * some read a link or a clock, or change a file. Here they are answered between epoll_wait and the next
 * epoll_wait; whatever is not one of them, or is in the least unusual, is handed to Python untouched, as
 * if this file did not exist. It knows only what Python has told it:
 *
 *   know(tid, process, wall, memory)
 *                     thread `tid`, the only one or the leader of `process`, has all rights, if
 *                     perhaps another root directory, and its wall clock is `wall` or later; `memory` is
 *                     its /proc/TID/mem, open until the next know or forget, or -1;
 *   forget(tid)       that does not hold any more;
 *   retry(id)         look at the call `id` again, with what was told since;
 *   Turns             whose objects say which thread is before the caller (turns.c);
 *   Memo(...)         this file, as long as the kernel says the same of it, is shown as these bytes;
 *   Files(...)        with which of Python's objects to look at another.
 *
 * The contract with nsbuild/supervisor/hotcalls.py, which says how to do without.
 */

#include "hot.h"
#include "numbers.h"
#include "renew.h"
#include "slots.h"

#include <structmember.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool answer_open(Hot *hot, uint64_t address, uint64_t flags)
{
	const char *name;

	if (flags & (O_ACCMODE | O_CREAT | O_TRUNC) || read_path(hot, address, 0) < 0)
		return false;
	name = strrchr(hot->path, '/');
	name = name ? name + 1 : hot->path;
	for (int i = 0; i < hot->name_count; i++)
		if (strcmp(name, hot->names[i]) == 0)
			return false;
	return respond(hot, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

static bool answer_random(Hot *hot, uint64_t buffer, uint64_t size, unsigned flags)
{
	PyObject *process = hot->processes[hot->call->pid];
	char bytes[MOST_RANDOM];

	/* Unknown flags, and the two that exclude each other. */
	if (size == 0 || size > MOST_RANDOM ||
	    flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) ||
	    (flags & GRND_RANDOM && flags & GRND_INSECURE))
		return false;
	if (!streams_peek(&hot->streams, process, bytes, size) ||
	    !write_guest(hot, buffer, bytes, size))
		return false;
	return !send_answer(hot, size, 0, 0) || streams_advance(&hot->streams, process, size);
}

static bool answer(Hot *hot)
{
	const struct seccomp_data *data = &hot->call->data;
	const __u64 *args = data->args;

	switch (data->nr) {
	case SYS_openat:
		return answer_open(hot, args[1], args[2]) || answer_change(hot);
	case SYS_open:
		return answer_open(hot, args[0], args[1]) || answer_change(hot);
	case SYS_getrandom:
		return answer_random(hot, args[0], args[1], (unsigned)args[2]);
	/* To have a look, with a timeout of 0, and to wait without one. */
	case SYS_poll:
		return (int)args[2] <= 0 && respond(hot, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	case SYS_ppoll:
		return args[2] == 0 && respond(hot, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		return (int)args[3] <= 0 && respond(hot, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	case SYS_select:
	case SYS_pselect6:
		return args[4] == 0 && respond(hot, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	case SYS_exit_group:
		return hot->quick_exit && times_leave(&hot->times, hot->processes[hot->call->pid]) &&
		       respond(hot, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	}
	return answer_look(hot) || answer_time(hot) || answer_change(hot) || answer_end(hot);
}

/* Whether enough is known to answer the call that was received. */
static bool is_known(const Hot *hot)
{
	const struct seccomp_notif *call = hot->call;

	return !hot->paused && call->data.arch == AUDIT_ARCH_X86_64 && call->pid < TID_LIMIT &&
	       hot->walls[call->pid];
}

static bool answered(Hot *hot)
{
	if (!is_known(hot))
		return false;
	if (answer(hot))
		return true;
	hot->declined = hot->pending ? 0 : hot->call->id;
	return false;
}

static bool answered_in_turn(Hot *hot)
{
	const Turns *turns = &hot->turns;
	PyObject *turn;
	bool alone;

	if (!turns->known)
		return answered(hot);
	if (!is_known(hot) || !(turn = turns_may_call(turns, hot->call->pid, hot->listener)))
		return false;
	alone = turns_alone(turns, turn);
	if (!alone && !turns_note(turns, turn))
		return false;
	if (answered(hot))
		return alone || turns_let_go(turns, turn);
	if (!alone || turns_note(turns, turn))
		hot->cleared = hot->call->id;
	return false;
}

/* Receive one call: a new reference to its values, None if there is nothing for Python to do. */
static PyObject *hot_receive(Hot *hot, PyObject *Py_UNUSED(unused))
{
	const struct seccomp_notif *call = hot->call;
	const __u64 *args = call->data.args;

	memset(hot->call, 0, hot->call_size);
	if (ioctl(hot->listener, SECCOMP_IOCTL_NOTIF_RECV, hot->call) < 0) {
		if (errno == ENOENT || errno == EINTR || errno == EAGAIN)
			Py_RETURN_NONE;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	hot->received++;
	if (answered_in_turn(hot))
		Py_RETURN_NONE;
	if (PyErr_Occurred())
		return NULL;
	return Py_BuildValue("(KIIiIKKKKKKK)", call->id, call->pid, call->flags, call->data.nr,
			     call->data.arch, call->data.instruction_pointer, args[0], args[1],
			     args[2], args[3], args[4], args[5]);
}

static PyObject *as_list(const struct epoll_event *events, int count)
{
	PyObject *list = PyList_New(count);

	for (int i = 0; list && i < count; i++) {
		PyObject *pair = Py_BuildValue("(iI)", events[i].data.fd, events[i].events);

		if (!pair)
			Py_CLEAR(list);
		else
			PyList_SET_ITEM(list, i, pair);
	}
	return list;
}

/*
 * Wait for events like select.epoll.poll, but answer calls meanwhile: the pair of the events and of
 * the values of a call. The values are None, unless the listener alone was ready; the ends of
 * processes must be taken notice of before a call is looked at.
 */
static PyObject *hot_wait(Hot *hot, PyObject *arg)
{
	struct epoll_event events[EVENTS];
	PyObject *values, *list;
	long timeout = PyLong_AsLong(arg);
	int count;

	if (timeout == -1 && PyErr_Occurred())
		return NULL;
	for (;;) {
		count = epoll_wait(hot->epoll, events, EVENTS, timeout);
		if (count < 0) {
			if (errno != EINTR)
				return PyErr_SetFromErrno(PyExc_OSError);
			if (PyErr_CheckSignals())
				return NULL;
			continue;
		}
		if (count != 1 || events[0].data.fd != hot->listener || events[0].events != EPOLLIN)
			break;
		values = hot_receive(hot, NULL);
		if (values != Py_None)
			return values ? Py_BuildValue("([]N)", values) : NULL;
		Py_DECREF(values);
		if (timeout >= 0) {
			/* Somebody waits for time to pass as well. */
			count = 0;
			break;
		}
	}
	list = as_list(events, count);
	return list ? Py_BuildValue("(NO)", list, Py_None) : NULL;
}

static PyObject *hot_know(Hot *hot, PyObject *args)
{
	PyObject *process;
	unsigned tid;
	long long wall;
	int memory;

	if (!PyArg_ParseTuple(args, "IOLi", &tid, &process, &wall, &memory))
		return NULL;
	if (tid < TID_LIMIT) {
		Py_INCREF(process);
		Py_XSETREF(hot->processes[tid], process);
		hot->walls[tid] = wall > 0 ? wall : 0;
		hot->memories[tid] = memory;
	}
	Py_RETURN_NONE;
}

/* Answer the call `id`, the last that was received, if it is ours now that Python has told more. */
static PyObject *hot_retry(Hot *hot, PyObject *arg)
{
	unsigned long long id = PyLong_AsUnsignedLongLong(arg);
	bool done = !PyErr_Occurred() && hot->call->id == id && answered(hot);

	return PyErr_Occurred() ? NULL : PyBool_FromLong(done);
}

/* send(id, value, error, flags): answer a call; whether its caller was still there to take it. */
static PyObject *hot_send(Hot *hot, PyObject *args)
{
	struct seccomp_notif_resp *answer = hot->answer;
	unsigned long long id;
	long long value;
	int error;
	unsigned flags;

	if (!PyArg_ParseTuple(args, "KLiI", &id, &value, &error, &flags))
		return NULL;
	memset(answer, 0, hot->answer_size);
	answer->id = id;
	answer->val = value;
	answer->error = error;
	answer->flags = flags;
	while (ioctl(hot->listener, SECCOMP_IOCTL_NOTIF_SEND, answer) < 0) {
		/* As in nsbuild/supervisor/listener.py. */
		if (errno == ENOENT || errno == EINPROGRESS)
			Py_RETURN_FALSE;
		if (errno != EINTR)
			return PyErr_SetFromErrno(PyExc_OSError);
		if (PyErr_CheckSignals())
			return NULL;
	}
	Py_RETURN_TRUE;
}

/* rests(turn): whether a call of the thread with this Turn, or of one that has none, waits for nobody. */
static PyObject *hot_rests(Hot *hot, PyObject *turn)
{
	bool rest = turns_rest(&hot->turns, turn, hot->listener);

	return PyErr_Occurred() ? NULL : PyBool_FromLong(rest);
}

static PyObject *hot_forget(Hot *hot, PyObject *arg)
{
	unsigned long tid = PyLong_AsUnsignedLong(arg);

	if (PyErr_Occurred())
		return NULL;
	if (tid < TID_LIMIT) {
		hot->walls[tid] = 0;
		Py_CLEAR(hot->processes[tid]);
	}
	Py_RETURN_NONE;
}

static PyObject *hot_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	PyObject *names, *files, *process, *stream, *turns, *plain, *merge, *sysinfo;
	struct statx file;
	Hot *hot = (Hot *)type->tp_alloc(type, 0);

	if (hot)
		hot->proc = hot->root = -1;
	if (!hot || !PyArg_ParseTuple(args, "iinnO!pO!O!O!OOOO!", &hot->listener, &hot->epoll,
				      &hot->call_size, &hot->answer_size, &PyTuple_Type, &names,
				      &hot->quick_exit, &FilesType, &files, &PyType_Type, &process,
				      &PyType_Type, &stream, &turns, &plain, &merge,
				      &PyBytes_Type, &sysinfo) ||
	    !streams_init(&hot->streams, process, stream) ||
	    !times_init(&hot->times, process, merge, sysinfo) ||
	    !changes_init(&hot->changes) || !directories_init(&hot->directories, process) ||
	    !turns_init(&hot->turns, turns))
		goto fail;
	hot->place = slot_offset(process, "place");
	hot->proc = open(".", O_PATH | O_CLOEXEC);
	hot->root = open("/", O_PATH | O_CLOEXEC);
	if (hot->place < 0)
		goto fail;
	if (hot->proc < 0 || hot->root < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		goto fail;
	}
	if (look("/proc", 0, &file) == 0)
		hot->proc_mount = file.stx_mnt_id;
	hot->plain = Py_NewRef(plain);
	hot->files = Py_NewRef(files);
	if (PyTuple_GET_SIZE(names) > MAX_NAMES) {
		PyErr_SetString(PyExc_ValueError, "too many names");
		goto fail;
	}
	for (; hot->name_count < PyTuple_GET_SIZE(names); hot->name_count++) {
		const char *name = PyBytes_AsString(PyTuple_GET_ITEM(names, hot->name_count));

		if (!name)
			goto fail;
		snprintf(hot->names[hot->name_count], sizeof hot->names[0], "%s", name);
	}
	if (hot->call_size < sizeof *hot->call)
		hot->call_size = sizeof *hot->call;
	if (hot->answer_size < sizeof *hot->answer)
		hot->answer_size = sizeof *hot->answer;
	hot->call = calloc(1, hot->call_size);
	hot->answer = calloc(1, hot->answer_size);
	/* Pages of it that are never touched take no memory. */
	hot->walls = calloc(TID_LIMIT, sizeof *hot->walls);
	hot->memories = calloc(TID_LIMIT, sizeof *hot->memories);
	hot->processes = calloc(TID_LIMIT, sizeof *hot->processes);
	if (hot->call && hot->answer && hot->walls && hot->memories && hot->processes)
		return (PyObject *)hot;
	PyErr_NoMemory();
fail:
	Py_XDECREF(hot);
	return NULL;
}

static void hot_dealloc(Hot *hot)
{
	close(hot->proc);
	close(hot->root);
	Py_XDECREF(hot->plain);
	Py_XDECREF(hot->files);
	times_clear(&hot->times);
	changes_clear(&hot->changes);
	directories_clear(&hot->directories);
	turns_clear(&hot->turns);
	free(hot->call);
	free(hot->answer);
	free(hot->walls);
	free(hot->memories);
	/* Who is still known lives as long as we do, which is as long as the supervisor. */
	free(hot->processes);
	Py_TYPE(hot)->tp_free((PyObject *)hot);
}

static PyMethodDef hot_methods[] = {
	{ "receive", (PyCFunction)hot_receive, METH_NOARGS, "receive() -> values of a call, or None" },
	{ "wait", (PyCFunction)hot_wait, METH_O, "wait(milliseconds) -> (events, values or None)" },
	{ "know", (PyCFunction)hot_know, METH_VARARGS, "know(tid, process, wall, memory)" },
	{ "send", (PyCFunction)hot_send, METH_VARARGS, "send(id, value, error, flags) -> whether it was taken" },
	{ "retry", (PyCFunction)hot_retry, METH_O, "retry(id) -> whether the call was answered" },
	{ "rests", (PyCFunction)hot_rests, METH_O, "rests(turn) -> whether its call waits for nobody" },
	{ "forget", (PyCFunction)hot_forget, METH_O, "forget(tid)" },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef hot_members[] = {
	{ "paused", T_BOOL, offsetof(Hot, paused), 0, "whether every call is handed on" },
	{ "pending", T_BOOL, offsetof(Hot, pending), 0, "whether files are about to be made" },
	{ "declined", T_ULONGLONG, offsetof(Hot, declined), READONLY, "the last call that is not ours" },
	{ "cleared", T_ULONGLONG, offsetof(Hot, cleared), READONLY, "the last call that waits for nobody" },
	{ "received", T_ULONGLONG, offsetof(Hot, received), READONLY, "calls received" },
	{ "answered", T_ULONGLONG, offsetof(Hot, answered), READONLY, "calls answered here" },
	{ NULL, 0, 0, 0, NULL },
};

static PyTypeObject HotType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "nsbuild._hotcalls.Hot",
	.tp_doc = "Hot(listener, epoll, notif size, resp size, names, quick_exit, files, Process, Stream, Turns or None, PLAIN, merge, sysinfo)",
	.tp_basicsize = sizeof(Hot),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = hot_new,
	.tp_dealloc = (destructor)hot_dealloc,
	.tp_methods = hot_methods,
	.tp_members = hot_members,
};

static PyMethodDef functions[] = {
	{ "serve_numbers", serve_numbers, METH_VARARGS,
	  "serve_numbers(requests, wake, last_pid, first, limit) -> a message for Python, or None" },
	{ "draw", draw, METH_VARARGS, "draw(seed, position, size) -> bytes of a stream" },
	{ "statx", statx_values, METH_VARARGS, "statx(directory, path, flags) -> values of STATX, or an errno" },
	{ "renew", renew, METH_VARARGS,
	  "renew(listener, id, tid, offset, code, mark, random) -> (memory, headers) or None" },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_hotcalls",
	.m_doc = "The calls that a build makes most; see libfaketime_ext/README.md.",
	.m_size = -1,
	.m_methods = functions,
};

PyMODINIT_FUNC PyInit__hotcalls(void)
{
	PyObject *made = PyModule_Create(&module);

	if (!made || PyModule_AddType(made, &MemoType) || PyModule_AddType(made, &FilesType) ||
	    PyModule_AddType(made, &HotType))
		Py_CLEAR(made);
	return made;
}
