/* What the extension knows, and how it gets at the guest. See hotcalls.c and guest.c. */

#pragma once

#include "changes.h"
#include "directories.h"
#include "entropy.h"
#include "files.h"
#include "times.h"
#include "turns.h"

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	TID_LIMIT = 1 << 22,	/* PID_MAX_LIMIT of a 64-bit kernel */
	EVENTS = 64,
	SHORT_PATH = 256,
	ROOM = 48,		/* for what a path begins with that does not start at the root */
	MAX_NAMES = 32,
	MOST_RANDOM = 256,	/* what getrandom(2) always gives at once */
};

typedef struct Hot {
	PyObject_HEAD
	int listener, epoll;
	int proc, root;		/* the directory that we work in, and our own root */
	uint64_t proc_mount;	/* the mount that our /proc is, 0 for none */
	PyObject *files;	/* a Files */
	PyObject *plain;	/* the place of who looks from our root */
	Py_ssize_t place;	/* where a Process has its place */
	Streams streams;
	struct seccomp_notif *call;
	struct seccomp_notif_resp *answer;
	size_t call_size, answer_size;
	int64_t *walls;		/* by thread: its wall clock, at least; 0 for one that is not known */
	int *memories;		/* by thread: its memory, for one that is known; -1 if not open */
	PyObject **processes;	/* by thread: its Process, for one that is known */
	char names[MAX_NAMES][16];
	int name_count;
	Times times;
	Changes changes;
	Directories directories;
	Turns turns;
	char paused;		/* a birth is in flight: only Python knows who has to wait for it */
	char pending;		/* files are about to be made: only Python can look at any */
	char quick_exit;	/* nothing has to be done before a process ends */
	unsigned long long declined;	/* the last call that nothing more would make ours */
	unsigned long long cleared;	/* the last that waits for nobody, though it is not ours */
	unsigned long long received, answered;
	char path[ROOM + SHORT_PATH];
} Hot;

/* Answer the call that was received; whether the kernel took the answer. */
bool send_answer(Hot *hot, int64_t value, int error, uint32_t flags);

/* The same with an answer that moves nothing: true, whether it was taken or not. */
bool respond(Hot *hot, int error, uint32_t flags);

/* As much of the caller's memory at `address` as can be read; -1 for none. */
ssize_t read_guest(Hot *hot, uint64_t address, void *data, size_t size);

/* The path at `address`, behind `start` in hot->path; its length, or -1 if Python had better read it. */
int read_path(Hot *hot, uint64_t address, int start);

/* Whether all of it could be written. */
bool write_guest(Hot *hot, uint64_t address, const void *data, size_t size);

/* Whether the caller looks from our root directory; else from one of its own (looks.c). */
bool is_plain(const Hot *hot);

/* Whether no file is about to be made: before that is known, only Python can look at any (looks.c). */
bool settled(Hot *hot);

/* The path that was read to hot->path + ROOM, from the guest's `dirfd`, as we can use it. */
char *from_here(Hot *hot, int dirfd);

/*
 * A descriptor, with O_PATH and `flags`, of what that path leads to for the caller; -1 with errno, or -2 if
 * Python had better look. With an exception all is over.
 */
int open_for_guest(const Hot *hot, const char *path, int flags);

/* Whether the call that was received is a look at a file, and was answered (looks.c). */
bool answer_look(Hot *hot);
