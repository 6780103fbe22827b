/* The attributes of Python's objects, where __slots__ has put them. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <structmember.h>

#include <stdbool.h>
#include <stdint.h>

/* Where objects of `type` have the attribute `name`; -1 with an exception if not in __slots__. */
static inline Py_ssize_t slot_offset(PyObject *type, const char *name)
{
	PyObject *found = PyObject_GetAttrString(type, name);
	Py_ssize_t offset = -1;

	if (found && Py_TYPE(found) == &PyMemberDescr_Type &&
	    ((PyMemberDescrObject *)found)->d_member->type == T_OBJECT_EX)
		offset = ((PyMemberDescrObject *)found)->d_member->offset;
	else if (found)
		PyErr_Format(PyExc_TypeError, "%s is not in __slots__", name);
	Py_XDECREF(found);
	return offset;
}

static inline PyObject **slot_at(PyObject *object, Py_ssize_t offset)
{
	return (PyObject **)((char *)object + offset);
}

/* Whether it is a number of 64 bits, which `*value` is then. */
static inline bool as_number(PyObject *held, int64_t *value)
{
	int overflow = 0;

	if (!held || !PyLong_Check(held))
		return false;
	*value = PyLong_AsLongLongAndOverflow(held, &overflow);
	return !overflow;
}
