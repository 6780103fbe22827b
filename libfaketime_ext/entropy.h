/* Entropy streams. See entropy.c. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

enum { SEED_SIZE = 20, BLOCK_SIZE = 20 };

/* Where a Process has its Stream, and where that has its attributes. */
typedef struct {
	PyObject *type;
	Py_ssize_t stream, seed, position;
} Streams;

/* False with an exception if the types are not as they should be. */
bool streams_init(Streams *streams, PyObject *process_type, PyObject *stream_type);

/* The next `size` bytes of the stream of `process`, which does not move; false if Python had better. */
bool streams_peek(const Streams *streams, PyObject *process, void *bytes, size_t size);

/* The bytes were handed out; false with an exception. */
bool streams_advance(const Streams *streams, PyObject *process, size_t size);

/* draw(seed, position, size): so that both ways can be held against the same vectors. */
PyObject *draw(PyObject *module, PyObject *args);
