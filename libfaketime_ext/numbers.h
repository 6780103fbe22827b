/* Process numbers, as the container's init hands them out. See numbers.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *serve_numbers(PyObject *module, PyObject *args);
