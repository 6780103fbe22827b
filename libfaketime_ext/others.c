#include "others.h"

#include <stdlib.h>
#include <unistd.h>

bool others_set(Others *others, PyObject *pairs)
{
	Py_ssize_t count = PyTuple_Size(pairs);
	Other *all = count > 0 ? calloc(count, sizeof *all) : NULL;

	if (count < 0)
		return false;
	if (count > 0 && !all) {
		PyErr_NoMemory();
		return false;
	}
	for (Py_ssize_t i = 0; i < count; i++)
		if (!PyArg_ParseTuple(PyTuple_GET_ITEM(pairs, i), "iK", &all[i].fd, &all[i].runs)) {
			free(all);
			return false;
		}
	free(others->all);
	others->all = all;
	others->count = count;
	return true;
}

bool others_ran(const Others *others)
{
	for (Py_ssize_t i = 0; i < others->count; i++) {
		char text[128], *rest = text;
		ssize_t size = pread(others->all[i].fd, text, sizeof text - 1, 0);

		if (size <= 0)
			return true;
		text[size] = '\0';
		/* Its time on a CPU, its time in the queue. */
		strtoull(rest, &rest, 10);
		strtoull(rest, &rest, 10);
		if (strtoull(rest, NULL, 10) != others->all[i].runs)
			return true;
	}
	return false;
}
