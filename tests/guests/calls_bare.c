/* calls_bare COMMAND...: runs it in namespaces as nsbuild's, started by root, and with nothing else.
 *
 * Every id is mapped to itself, and /proc shows the new PID namespace. */
#include "calls.h"

static void copy_map(const char *name, int pid)
{
    char path[64], text[4096];
    unsigned first, outside, count;
    snprintf(path, sizeof path, "/proc/self/%s", name);
    FILE *map = fopen(path, "r");
    int length = 0;
    while (map && fscanf(map, "%u %u %u", &first, &outside, &count) == 3)
        length += snprintf(text + length, sizeof text - length, "%u %u %u\n", first, first, count);
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_WRONLY);
    if (!map || fd < 0 || write(fd, text, length) != length)
        must(-errno, path);
    fclose(map);
    close(fd);
}

static int last_status(int pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    int ready[2], mapped[2];
    char byte = 0;
    if (argc < 2 || pipe2(ready, O_CLOEXEC) || pipe2(mapped, O_CLOEXEC))
        return 2;
    int pid = fork();
    if (pid) {
        close(ready[1]);
        if (read(ready[0], &byte, 1) != 1)
            return 97;
        copy_map("uid_map", pid);
        copy_map("gid_map", pid);
        close(mapped[1]);
        return last_status(pid);
    }
    must(raw(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID, 0, 0, 0), "unshare");
    close(mapped[1]);
    must(write(ready[1], "", 1) - 1, "ready");
    must(read(mapped[0], &byte, 1), "mapped");
    pid = fork();
    if (pid)
        return last_status(pid);
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ? -errno : 0, "private");
    must(mount("proc", "/proc", "proc", 0, NULL) ? -errno : 0, "proc");
    execvp(argv[1], argv + 1);
    return 127;
}
