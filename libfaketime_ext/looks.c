/*
 * Looks at files: stat in all its forms, a link that is read, and a file system that is not there.
 */

#include "hot.h"
#include "slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

bool is_plain(const Hot *hot)
{
	return *slot_at(hot->processes[hot->call->pid], hot->place) == hot->plain;
}

/* Show the file at `path`, of which the kernel has just said this. */
static bool show(Hot *hot, const char *path, int flags, struct statx *file, uint64_t buffer)
{
	Memo *memo = memo_of(file);

	if (!memo)
		memo = files_memo(hot->files, hot->processes[hot->call->pid], path, flags, file);
	return memo && memo->ahead <= hot->walls[hot->call->pid] &&
	       write_guest(hot, buffer, memo->shown, STAT_SIZE) && respond(hot, 0, 0);
}

bool settled(Hot *hot)
{
	if (hot->pending && files_settle(hot->files, hot->call->pid))
		hot->pending = false;
	return !hot->pending;
}

static bool answer_fstat(Hot *hot, int fd, uint64_t buffer)
{
	struct statx file;

	if (fd < 0)
		return false;
	snprintf(hot->path, sizeof hot->path, "%u/fd/%d", hot->call->pid, fd);
	return look(hot->path, 0, &file) == 0 && show(hot, hot->path, 0, &file, buffer);
}

/*
 * Whether the guest's `path`, which `look` has just not found, is not there for the guest either.
 * That may differ in the /proc of others, which we look into (see supervisor/places.py).
 */
static bool absent(const char *path, int length, int dirfd)
{
	return errno == ENOENT && (*path == '/' || dirfd == AT_FDCWD) && path[length - 1] != '/' &&
	       !strstr(path, "proc") && !strstr(path, "dev/") && !strstr(path, "self");
}

char *from_here(Hot *hot, int dirfd)
{
	char *path = hot->path + ROOM, prefix[ROOM];
	int size;

	if (*path == '/')
		return path;
	size = dirfd == AT_FDCWD ? sprintf(prefix, "%u/cwd/", hot->call->pid)
				 : sprintf(prefix, "%u/fd/%d/", hot->call->pid, dirfd);
	return memcpy(path - size, prefix, size);
}

/* Whether `directory` is our root directory now, with /proc below us as ever. */
static bool move_root(const Hot *hot, int directory)
{
	return fchdir(directory) == 0 && chroot(".") == 0 && fchdir(hot->proc) == 0;
}

/*
 * A descriptor of what `path`, as we can use it, leads to from the caller's own root directory; -1 with
 * errno, or -2 if Python had better look. As Places._from in nsbuild/supervisor/places.py. With an
 * exception we are not where we were, and all is over.
 */
static int open_from_its_root(const Hot *hot, const char *path, int flags)
{
	int root, found = -2, error = 0;
	char link[32];

	sprintf(link, "%u/root", hot->call->pid);
	root = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -2;
	if (move_root(hot, root)) {
		found = open(path, O_PATH | O_CLOEXEC | flags);
		error = errno;
	}
	close(root);
	if (!move_root(hot, hot->root)) {
		PyErr_SetFromErrno(PyExc_OSError);
		if (found >= 0)
			close(found);
		return -2;
	}
	errno = error;
	return found;
}

int open_for_guest(const Hot *hot, const char *path, int flags)
{
	return is_plain(hot) ? open(path, O_PATH | O_CLOEXEC | flags)
			     : open_from_its_root(hot, path, flags);
}

/* The same, looked at: `link` is how we name it then. */
static int look_from_its_root(const Hot *hot, const char *path, int flags, char link[32],
			      struct statx *file)
{
	int found = open_from_its_root(hot, path, flags);

	if (found < 0)
		return found;
	sprintf(link, "self/fd/%d", found);
	if (look(link, 0, file) == 0)
		return found;
	close(found);
	return -2;
}

/* The same as answer_stat for a process that has a root directory of its own, and all rights. */
static bool answer_stat_elsewhere(Hot *hot, const char *path, int dirfd, int length, bool keep,
				  uint64_t buffer)
{
	struct statx file;
	char link[32];
	int found = look_from_its_root(hot, path, O_NOFOLLOW, link, &file);
	bool answered;

	if (found == -1)
		return absent(hot->path + ROOM, length, dirfd) && respond(hot, ENOENT, 0);
	if (found >= 0 && !keep && S_ISLNK(file.stx_mode)) {
		close(found);
		found = look_from_its_root(hot, path, 0, link, &file);
	}
	if (found < 0)
		return false;
	answered = show(hot, link, 0, &file, buffer);
	close(found);
	return answered;
}

static bool answer_stat(Hot *hot, int dirfd, uint64_t address, uint64_t buffer, unsigned flags)
{
	bool keep = flags & AT_SYMLINK_NOFOLLOW;
	struct statx file;
	int length;
	char *path;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT) || !settled(hot))
		return false;
	length = read_path(hot, address, ROOM);
	if (length == 0 && flags & AT_EMPTY_PATH)
		return answer_fstat(hot, dirfd, buffer);
	if (length <= 0)
		return false;
	path = from_here(hot, dirfd);
	if (!is_plain(hot))
		return answer_stat_elsewhere(hot, path, dirfd, length, keep, buffer);
	/* Most that is looked for is no link: then one look-up says all, whether links count or not. */
	if (look(path, AT_SYMLINK_NOFOLLOW, &file) == 0) {
		bool through = !keep && S_ISLNK(file.stx_mode);

		if (through && look(path, 0, &file) < 0)
			return false;
		return show(hot, path, through ? 0 : AT_SYMLINK_NOFOLLOW, &file, buffer);
	}
	return absent(hot->path + ROOM, length, dirfd) && respond(hot, ENOENT, 0);
}

/* Only links in /proc may say what Python has to answer: all others are the kernel's. */
static bool answer_readlink(Hot *hot, int dirfd, uint64_t address)
{
	struct statx file;
	int length = is_plain(hot) ? read_path(hot, address, ROOM) : -1;

	if (length <= 0)
		return false;
	if (look(from_here(hot, dirfd), AT_SYMLINK_NOFOLLOW, &file) == 0
		    ? !files_on_disk(hot->files, &file)
		    : !absent(hot->path + ROOM, length, dirfd))
		return false;
	return respond(hot, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* Only of files that are not there: statfs of one that is has to be worked out. */
static bool answer_statfs(Hot *hot, uint64_t address)
{
	struct statx file;
	int length = is_plain(hot) ? read_path(hot, address, 0) : -1;

	return length > 0 && *hot->path == '/' &&
	       look(hot->path, AT_SYMLINK_NOFOLLOW, &file) < 0 &&
	       absent(hot->path, length, AT_FDCWD) && respond(hot, ENOENT, 0);
}

bool answer_look(Hot *hot)
{
	const struct seccomp_data *data = &hot->call->data;
	const __u64 *args = data->args;

	switch (data->nr) {
	case SYS_newfstatat:
		return answer_stat(hot, (int)args[0], args[1], args[2], (unsigned)args[3]);
	case SYS_stat:
		return answer_stat(hot, AT_FDCWD, args[0], args[1], 0);
	case SYS_lstat:
		return answer_stat(hot, AT_FDCWD, args[0], args[1], AT_SYMLINK_NOFOLLOW);
	case SYS_fstat:
		return settled(hot) && answer_fstat(hot, (int)args[0], args[1]);
	case SYS_readlink:
		return answer_readlink(hot, AT_FDCWD, args[0]);
	case SYS_readlinkat:
		return answer_readlink(hot, (int)args[0], args[1]);
	case SYS_statfs:
		return answer_statfs(hot, args[0]);
	}
	return false;
}
