/*
 * The guest, which waits in a notified call: its memory, and the answer to it. As in
 * nsbuild/supervisor/memory.py, which is asked wherever something is not as usual.
 */

#include "hot.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

/* As in nsbuild/supervisor/memory.py: above lies the main thread's stack, which can be written. */
#define STACK_FLOOR 0x7FFFF8000000u

bool send_answer(Hot *hot, int64_t value, int error, uint32_t flags)
{
	memset(hot->answer, 0, hot->answer_size);
	hot->answer->id = hot->call->id;
	hot->answer->val = value;
	hot->answer->error = -error;
	hot->answer->flags = flags;
	hot->answered++;
	while (ioctl(hot->listener, SECCOMP_IOCTL_NOTIF_SEND, hot->answer) < 0)
		if (errno != EINTR)
			return false;
	return true;
}

bool respond(Hot *hot, int error, uint32_t flags)
{
	send_answer(hot, 0, error, flags);
	return true;
}

/*
 * Read from the guest. Through a descriptor that is open anyway it costs half as much; one whose
 * address space has gone with an exec reads nothing.
 */
ssize_t read_guest(Hot *hot, uint64_t address, void *data, size_t size)
{
	struct iovec here = { data, size }, there = { (void *)address, size };
	int memory = hot->memories[hot->call->pid];
	ssize_t got = memory >= 0 && address <= INT64_MAX ? pread(memory, data, size, (off_t)address) : 0;

	return got > 0 ? got : process_vm_readv(hot->call->pid, &here, 1, &there, 1, 0);
}

int read_path(Hot *hot, uint64_t address, int start)
{
	char *path = hot->path + start, *end;
	ssize_t size = read_guest(hot, address, path, SHORT_PATH);

	end = size > 0 ? memchr(path, 0, size) : NULL;
	return end ? end - path : -1;
}

bool write_guest(Hot *hot, uint64_t address, const void *data, size_t size)
{
	struct iovec here = { (void *)data, size }, there = { (void *)address, size };
	int memory = hot->memories[hot->call->pid];

	/* The descriptor is the caller's own memory whatever becomes of its number; but it asks for no
	 * protection, so it is for what can always be written. */
	if (memory >= 0 && address >= STACK_FLOOR && address <= INT64_MAX &&
	    pwrite(memory, data, size, (off_t)address) == (ssize_t)size)
		return true;
	/* The number may have changed hands since RECV, unless the call still waits. */
	return ioctl(hot->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &hot->call->id) == 0 &&
	       process_vm_writev(hot->call->pid, &here, 1, &there, 1, 0) == (ssize_t)size;
}
