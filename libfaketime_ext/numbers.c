/*
 * The requests that init answers for every fork of the container, answered without running any Python:
 * which number the child gets, whether it has been born, whether a number is in use. Everything else is
 * handed to Python. The contract with nsbuild/container/init.py, which says how to do without.
 */

#include "numbers.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* REQUEST of nsbuild/supervisor/initlink.py: a letter, and a number behind it. */
typedef struct __attribute__((packed)) {
	char what;
	int32_t value;
} Request;

typedef struct {
	int last_pid;		/* ns_last_pid, open */
	int first, limit;	/* numbers are first <= pid < limit */
} Numbers;

static bool exists(int pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH;
}

/* The number `wish` or the next free one becomes the next; 0 if there is none, -1 for an error. */
static int reserve(const Numbers *numbers, int wish)
{
	int span = numbers->limit - numbers->first;
	int start = (wish - numbers->first) % span + span;
	char text[16];

	for (int distance = 0; distance < span; distance++) {
		int pid = numbers->first + (start + distance) % span;

		if (!exists(pid)) {
			int size = sprintf(text, "%d", pid - 1);

			return pwrite(numbers->last_pid, text, size, 0) == size ? pid : -1;
		}
	}
	return 0;
}

/* Whether the reserved `pid` was handed out; who has gone again has moved the counter all the same. */
static int born(const Numbers *numbers, int pid)
{
	char text[32];
	ssize_t size = pread(numbers->last_pid, text, sizeof text - 1, 0);

	if (size <= 0)
		return -1;
	text[size] = 0;
	return atoi(text) != pid - 1 || exists(pid);
}

/* The length of the answer to `request`, 0 for one that is Python's, -1 for an error. */
static int answer(const Numbers *numbers, const Request *request, char text[16])
{
	int result;

	switch (request->what) {
	case 'P':
		result = reserve(numbers, request->value);
		return result < 0 ? -1 : sprintf(text, "%d", result);
	case 'B':
		result = born(numbers, request->value);
		break;
	case 'E':
		result = exists(request->value);
		break;
	default:
		return 0;
	}
	*text = result ? 'y' : 'n';
	return result < 0 ? -1 : 1;
}

/*
 * serve(requests, wake, last_pid, first, limit): answer requests until there is something for Python:
 * None once `wake` is readable, else a message that is no request of ours; b"" at the end.
 */
PyObject *serve_numbers(PyObject *Py_UNUSED(module), PyObject *args)
{
	struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };
	Numbers numbers;
	Request request;
	ssize_t size;
	char text[16];
	int length;

	if (!PyArg_ParseTuple(args, "iiiii", &fds[0].fd, &fds[1].fd, &numbers.last_pid,
			      &numbers.first, &numbers.limit))
		return NULL;
	for (;;) {
		if (poll(fds, 2, -1) < 0) {
			if (errno != EINTR)
				return PyErr_SetFromErrno(PyExc_OSError);
			if (PyErr_CheckSignals())
				return NULL;
			continue;
		}
		if (fds[1].revents)
			Py_RETURN_NONE;
		do
			size = recv(fds[0].fd, &request, sizeof request, 0);
		while (size < 0 && errno == EINTR);
		if (size < 0)
			return PyErr_SetFromErrno(PyExc_OSError);
		length = size == sizeof request ? answer(&numbers, &request, text) : 0;
		if (length == 0)
			return PyBytes_FromStringAndSize((char *)&request, size);
		if (length < 0 || send(fds[0].fd, text, length, 0) < 0)
			return PyErr_SetFromErrno(PyExc_OSError);
	}
}
