/* mounts TYPE DIRECTORY: mounts as libmount does since 2.39, by fsopen(2) and its relatives, and by
 * mount(2) where that is not there. Says by which, and shows DIRECTORY/uptime or DIRECTORY/devices. */
#include "guest.h"

#include <fcntl.h>
#include <sys/mount.h>

#ifndef FSOPEN_CLOEXEC
#define FSOPEN_CLOEXEC 1
#define FSMOUNT_CLOEXEC 1
#define FSCONFIG_SET_STRING 1
#define FSCONFIG_CMD_CREATE 6
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif

static int by_descriptors(const char *type, const char *directory)
{
	int fs = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), tree;
	if (fs < 0)
		return -1;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", type, 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -1;
	tree = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (tree < 0)
		return -1;
	return syscall(SYS_move_mount, tree, "", AT_FDCWD, directory, MOVE_MOUNT_F_EMPTY_PATH);
}

static void show(const char *directory, const char *name)
{
	char path[4096], text[256];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	int fd = open(path, O_RDONLY);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text);
	if (size > 0)
		say("%s: %.*s", name, (int)size, text);
}

int main(int count, char **words)
{
	if (count != 3)
		return 2;
	int failed = by_descriptors(words[1], words[2]);
	if (failed)
		say("fsopen: errno %d\n", errno);
	if (failed && errno == ENOSYS && mount(words[1], words[2], words[1], 0, NULL)) {
		say("mount: errno %d\n", errno);
		return 1;
	}
	show(words[2], "uptime");
	show(words[2], "devices/system/cpu/online");
	return 0;
}
