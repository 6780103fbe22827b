/*
 * The exec hook's work on the memory of an ordinary fresh program, done at once: see
 * nsbuild/supervisor/exechook.py, which does the same step by step and takes over wherever something
 * is not as usual. It decides nothing that Python has to know of before.
 */

#define _GNU_SOURCE /* memmem */

#include "renew.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <unistd.h>

enum {
	MOST_ENTRIES = 64,
	PAGE = 4096,
};

/* Type and name of the ELF note with Go's build id (nsbuild/supervisor/gotsc.py). */
static const char go_note[] = "\x04\0\0\0Go\0";
static const char cxx_library[] = "/libstdc++.so.";

typedef struct {
	uint64_t vdso, random, headers;
} Auxv;

/* Read what is needed of the auxiliary vector; false unless the program is an ordinary one. */
static bool read_auxv(unsigned tid, Auxv *auxv)
{
	Elf64_auxv_t entries[MOST_ENTRIES];
	char path[32];
	ssize_t size;
	int fd;

	sprintf(path, "%u/auxv", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	size = read(fd, entries, sizeof entries);
	close(fd);
	memset(auxv, 0, sizeof *auxv);
	for (Elf64_auxv_t *entry = entries; size >= (ssize_t)sizeof *entry; size -= sizeof *entry, entry++)
		switch (entry->a_type) {
		case AT_SYSINFO_EHDR:
			auxv->vdso = entry->a_un.a_val;
			break;
		case AT_RANDOM:
			auxv->random = entry->a_un.a_val;
			break;
		case AT_PHDR:
			auxv->headers = entry->a_un.a_val;
			break;
		case AT_SECURE:
			if (entry->a_un.a_val)
				return false;
			break;
		case AT_NULL:
			return auxv->vdso && auxv->random && auxv->headers;
		}
	return false;
}

static bool read_at(int memory, uint64_t address, void *data, ssize_t size)
{
	return address <= INT64_MAX && pread(memory, data, size, (off_t)address) == size;
}

static bool write_at(int memory, uint64_t address, const void *data, ssize_t size)
{
	return address <= INT64_MAX && pwrite(memory, data, size, (off_t)address) == size;
}

static bool is_go(int memory, uint64_t headers)
{
	char page[PAGE];

	return !read_at(memory, headers & -(uint64_t)PAGE, page, PAGE) ||
	       memmem(page, PAGE, go_note, sizeof go_note);
}

/* PROCMAP_QUERY of linux/fs.h, Linux 6.11: one mapping of an open /proc/PID/maps. */
typedef struct {
	uint64_t size, flags, address;
	uint64_t start, end, vma_flags, page_size, offset, inode;
	uint32_t dev_major, dev_minor, name_size, build_id_size;
	uint64_t name, build_id;
} MapQuery;

#define QUERY _IOWR('f', 17, MapQuery)

enum {
	EXECUTABLE = 0x04,
	COVERING_OR_NEXT = 0x10,
	FILE_BACKED = 0x20,
};

/*
 * Whether the name of the library is in one of the mappings of files that hold code: 1 or 0, or -1 on an older
 * kernel. A program has two or three such, and ten times as many lines of text, each with a path to be made.
 */
static int code_of_cxx(int maps)
{
	char name[PAGE];
	MapQuery query;
	uint64_t address = 0;

	for (;;) {
		memset(&query, 0, sizeof query);
		query.size = sizeof query;
		query.flags = EXECUTABLE | COVERING_OR_NEXT | FILE_BACKED;
		query.address = address;
		query.name = (uint64_t)(uintptr_t)name;
		query.name_size = sizeof name;
		if (ioctl(maps, QUERY, &query) < 0)
			return errno == ENOENT ? 0 : errno == ENOTTY ? -1 : 1;
		if (query.name_size && memmem(name, query.name_size, cxx_library, sizeof cxx_library - 1))
			return 1;
		address = query.end;
	}
}

/* Whether GNU's C++ library is mapped (nsbuild/supervisor/randomdevice.py), or that cannot be told. */
static bool has_cxx(unsigned tid)
{
	char path[32], text[2 * PAGE];
	ssize_t kept = 0, size;
	int fd, found;

	sprintf(path, "%u/maps", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	found = code_of_cxx(fd);
	while (found < 0 && (size = read(fd, text + kept, PAGE)) > 0) {
		size += kept;
		found = memmem(text, size, cxx_library, sizeof cxx_library - 1) ? 1 : -1;
		/* The name may go on in what is read next. */
		kept = size < (ssize_t)sizeof cxx_library ? size : (ssize_t)sizeof cxx_library;
		memmove(text, text + size - kept, kept);
	}
	close(fd);
	return found > 0;
}

/* Whether the program has random addresses, which supervisor/detour.py ends for those that it starts. */
static bool is_random(unsigned tid)
{
	char path[32], text[16] = "";
	int fd;

	sprintf(path, "%u/personality", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	if (read(fd, text, sizeof text - 1) < 0)
		text[0] = 0;
	close(fd);
	return !(strtoul(text, NULL, 16) & ADDR_NO_RANDOMIZE);
}

/*
 * renew(listener, id, tid, offset, code, mark, random): the open memory of thread `tid`, whose vDSO has
 * `code` at `offset` now and whose AT_RANDOM bytes are `random`; and the address of its program headers
 * if it may be one of Go's, else 0; and whether it has the C++ library. None for a program that is not fresh or not ordinary. `mark` is the
 * size of the beginning of `code` by which one is known that has it.
 */
PyObject *renew(PyObject *Py_UNUSED(module), PyObject *args)
{
	unsigned long long id, offset;
	Py_buffer code, random;
	char begin[64];
	PyObject *result = NULL;
	int listener, mark, memory = -1;
	unsigned tid;
	char path[32];
	Auxv auxv;

	if (!PyArg_ParseTuple(args, "iKIKy*iy*", &listener, &id, &tid, &offset, &code, &mark, &random))
		return NULL;
	sprintf(path, "%u/mem", tid);
	/* The number is the caller's if the call still waits after the opening. The mark comes last: whoever
	 * has it is taken to have all. */
	if (mark > 0 && mark <= (int)sizeof begin && mark <= code.len && read_auxv(tid, &auxv) && !is_random(tid) &&
	    (memory = open(path, O_RDWR | O_CLOEXEC)) >= 0 &&
	    ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0 &&
	    read_at(memory, auxv.vdso + offset, begin, mark) && memcmp(begin, code.buf, mark) != 0 &&
	    write_at(memory, auxv.random, random.buf, random.len) &&
	    write_at(memory, auxv.vdso + offset, code.buf, code.len))
		result = Py_BuildValue("(iKi)", memory, is_go(memory, auxv.headers) ? auxv.headers : 0,
				       has_cxx(tid));
	PyBuffer_Release(&code);
	PyBuffer_Release(&random);
	if (result)
		return result;
	if (memory >= 0)
		close(memory);
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}
