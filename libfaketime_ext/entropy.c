/*
 * The streams of nsbuild/determinism/entropy.py, which says how they are made: block i is the SHA-1 of
 * the seed and of i in 8 bytes, big-endian. Seed and position are those of Python's own Stream objects.
 */

#include "entropy.h"

#include "slots.h"

#include <endian.h>
#include <string.h>

static uint32_t rotated(uint32_t word, int bits)
{
	return word << bits | word >> (32 - bits);
}

/* SHA-1 (RFC 3174) of a message that fits in one block with its padding. */
static void sha1(const void *message, size_t size, uint8_t digest[20])
{
	uint32_t hash[5] = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 };
	uint32_t words[80] = { 0 };
	uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];

	memcpy(words, message, size);
	((uint8_t *)words)[size] = 0x80;
	for (int i = 0; i < 15; i++)
		words[i] = be32toh(words[i]);
	words[15] = size * 8;
	for (int i = 16; i < 80; i++)
		words[i] = rotated(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		uint32_t mixed = i < 20 ? ((b & c) | (~b & d)) + 0x5A827999
			       : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
			       : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
					: (b ^ c ^ d) + 0xCA62C1D6;
		uint32_t next = rotated(a, 5) + mixed + e + words[i];

		e = d;
		d = c;
		c = rotated(b, 30);
		b = a;
		a = next;
	}
	hash[0] += a;
	hash[1] += b;
	hash[2] += c;
	hash[3] += d;
	hash[4] += e;
	for (int i = 0; i < 5; i++)
		hash[i] = htobe32(hash[i]);
	memcpy(digest, hash, 20);
}

static void read_stream(const char *seed, uint64_t position, uint8_t *bytes, size_t size)
{
	uint8_t message[SEED_SIZE + 8], block[BLOCK_SIZE];

	memcpy(message, seed, SEED_SIZE);
	while (size) {
		uint64_t index = htobe64(position / BLOCK_SIZE);
		size_t skip = position % BLOCK_SIZE, part = BLOCK_SIZE - skip;

		if (part > size)
			part = size;
		memcpy(message + SEED_SIZE, &index, sizeof index);
		sha1(message, sizeof message, block);
		memcpy(bytes, block + skip, part);
		bytes += part;
		position += part;
		size -= part;
	}
}

bool streams_init(Streams *streams, PyObject *process_type, PyObject *stream_type)
{
	streams->type = stream_type;
	streams->stream = slot_offset(process_type, "stream");
	streams->seed = slot_offset(stream_type, "seed");
	streams->position = slot_offset(stream_type, "position");
	return !PyErr_Occurred();
}

static PyObject *stream_of(const Streams *streams, PyObject *process)
{
	PyObject *stream = process ? *slot_at(process, streams->stream) : NULL;

	return stream && Py_TYPE(stream) == (PyTypeObject *)streams->type ? stream : NULL;
}

bool streams_peek(const Streams *streams, PyObject *process, void *bytes, size_t size)
{
	PyObject *stream = stream_of(streams, process);
	PyObject *seed = stream ? *slot_at(stream, streams->seed) : NULL;
	int64_t position;

	if (!seed || !PyBytes_Check(seed) || PyBytes_GET_SIZE(seed) != SEED_SIZE ||
	    !as_number(*slot_at(stream, streams->position), &position) || position < 0)
		return false;
	read_stream(PyBytes_AS_STRING(seed), position, bytes, size);
	return true;
}

bool streams_advance(const Streams *streams, PyObject *process, size_t size)
{
	PyObject **place = slot_at(stream_of(streams, process), streams->position), *moved;
	int64_t position;

	if (!as_number(*place, &position) || !(moved = PyLong_FromLongLong(position + (int64_t)size)))
		return false;
	Py_SETREF(*place, moved);
	return true;
}

PyObject *draw(PyObject *Py_UNUSED(module), PyObject *args)
{
	unsigned long long position;
	Py_ssize_t seed_size, size;
	const char *seed;
	PyObject *bytes;

	if (!PyArg_ParseTuple(args, "y#Kn", &seed, &seed_size, &position, &size))
		return NULL;
	if (seed_size != SEED_SIZE || size < 0) {
		PyErr_SetString(PyExc_ValueError, "not a seed, or not a size");
		return NULL;
	}
	bytes = PyBytes_FromStringAndSize(NULL, size);
	if (bytes)
		read_stream(seed, position, (uint8_t *)PyBytes_AS_STRING(bytes), size);
	return bytes;
}
