/* What the exec hook does to a fresh program. See renew.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *renew(PyObject *module, PyObject *args);
