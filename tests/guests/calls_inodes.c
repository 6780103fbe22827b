/* calls_inodes GROUP PLACE: which files are one and which are two, by st_dev and st_ino.
 *
 * GROUP: same (what the kernel answers always), reuse (a number that is free again: ext4 gives it
 * to the next file, so that two files that never met seem one). */
#include "calls_places.h"

struct id {
    unsigned long dev, ino;
};

static struct id at(int dir, const char *path, int flags)
{
    struct stat s = {.st_ino = 0};
    long r = raw(SYS_newfstatat, dir, path, &s, flags);
    if (r)
        say("  %s: %s\n", path, error_name(r));
    return (struct id){s.st_dev, s.st_ino};
}

static struct id of(const char *path)
{
    return at(AT, path, AT_SYMLINK_NOFOLLOW);
}

static struct id of_fd(int fd)
{
    return at(fd, "", AT_EMPTY_PATH);
}

static struct id by_statx(const char *path)
{
    struct statx x = {.stx_ino = 0};
    raw6(SYS_statx, AT, (long)path, AT_SYMLINK_NOFOLLOW, STATX_INO, (long)&x, 0);
    return (struct id){makedev(x.stx_dev_major, x.stx_dev_minor), x.stx_ino};
}

static void compare(const char *what, struct id a, struct id b)
{
    say("%s: %s%s\n", what, a.dev == b.dev && a.ino == b.ino ? "one" : "two",
        a.ino && b.ino ? "" : ", without a number");
}

static void file(const char *name)
{
    put(name, "text", 0644);
}

static void names(void)
{
    file("a");
    file("b");
    must(raw(SYS_mkdir, "d", 0755, 0, 0), "d");
    must(raw(SYS_link, "a", "d/a", 0, 0), "link");
    must(raw(SYS_symlink, "a", "s", 0, 0), "symlink");
    struct id a = of("a"), b = of("b"), d = of("d"), s = of("s");
    compare("hard links", a, of("d/a"));
    compare("different files", a, b);
    compare("file and directory", a, d);
    compare("link and its target", s, a);
    compare("through the link", at(AT, "s", 0), a);
    compare("by statx", by_statx("a"), a);
    compare("through /proc/self/cwd", of("/proc/self/cwd/a"), a);
    compare("up and down", of("d/../a"), a);
    compare("dot", of("d/."), d);
    compare("dotdot", of("d/.."), of("."));
    must(raw(SYS_rename, "a", "d/new", 0, 0), "rename");
    compare("renamed", of("d/new"), a);
    compare("its other name", of("d/a"), a);
    must(raw(SYS_rename, "b", "d/a", 0, 0), "rename");
    compare("renamed over another", of("d/a"), b);
    compare("the name that is left", of("d/new"), a);
    must(raw(SYS_rename, "d", "e", 0, 0), "rename");
    compare("renamed directory", of("e"), d);
    compare("file in a renamed directory", of("e/new"), a);
    must(raw(SYS_mkdir, "d", 0755, 0, 0), "d");
    compare("new directory of an old name", of("d"), d);
    file("d/new");
    compare("new file of an old path", of("d/new"), a);
    must(raw6(SYS_renameat2, AT, (long)"d", AT, (long)"e", 2, 0), "exchange");
    compare("exchanged directory", of("d"), d);
    compare("file in an exchanged directory", of("d/new"), a);
    must(raw(SYS_rename, "s", "s2", 0, 0), "rename");
    compare("renamed link", of("s2"), s);
}

static void descriptors(void)
{
    file("open");
    struct id open = of("open");
    int fd = raw(SYS_open, "open", O_RDWR, 0, 0), path = raw(SYS_open, "open", O_PATH, 0, 0);
    char magic[64];
    snprintf(magic, sizeof magic, "/proc/self/fd/%d", fd);
    compare("descriptor", of_fd(fd), open);
    compare("O_PATH descriptor", of_fd(path), open);
    compare("magic link", at(AT, magic, 0), open);
    must(raw(SYS_write, fd, "more", 4, 0), "write");
    compare("written", of("open"), open);
    must(raw(SYS_truncate, "open", 0, 0, 0), "truncate");
    must(raw(SYS_chmod, "open", 0600, 0, 0), "chmod");
    compare("truncated and changed", of("open"), open);
    close(raw(SYS_open, "open", O_WRONLY | O_CREAT | O_TRUNC, 0600, 0));
    compare("opened with O_CREAT", of("open"), open);
    must(raw(SYS_unlink, "open", 0, 0, 0), "unlink");
    compare("deleted", of_fd(fd), open);
    compare("deleted, by its magic link", at(AT, magic, 0), open);
    file("open");
    compare("another of the name while the first is open", of("open"), open);
    compare("deleted, still", of_fd(path), open);
    int temporary = raw(SYS_open, ".", O_TMPFILE | O_RDWR, 0600, 0);
    struct id unnamed = of_fd(temporary);
    snprintf(magic, sizeof magic, "/proc/self/fd/%d", temporary);
    compare("unnamed file", unnamed, of("open"));
    must(raw6(SYS_linkat, AT, (long)magic, AT, (long)"named", AT_SYMLINK_FOLLOW, 0), "linkat");
    compare("named at last", of("named"), unnamed);
    compare("two pipes", of_fd(FD_PIPE), of_fd(FD_SOCKET));
    compare("a descriptor twice", of_fd(FD_PIPE), of_fd(raw(SYS_dup, FD_PIPE, 0, 0, 0)));
}

static void processes(void)
{
    file("mine");
    struct id mine = of("mine"), theirs;
    int pipes[2], pid;
    must(raw(SYS_pipe, pipes, 0, 0, 0), "pipe");
    if (!(pid = fork())) {
        file("theirs");
        compare("seen by a child", of("mine"), mine);
        theirs = of("theirs");
        _exit(write(pipes[1], &theirs, sizeof theirs) != sizeof theirs);
    }
    must(read(pipes[0], &theirs, sizeof theirs) - (long)sizeof theirs, "read");
    waitpid(pid, NULL, 0);
    compare("made by a child", of("theirs"), theirs);
    if (!(pid = fork())) {
        must(raw(SYS_chroot, ".", 0, 0, 0), "chroot");
        compare("seen in a chroot", of("/mine"), mine);
        file("/jailed");
        theirs = of("/jailed");
        _exit(write(pipes[1], &theirs, sizeof theirs) != sizeof theirs);
    }
    must(read(pipes[0], &theirs, sizeof theirs) - (long)sizeof theirs, "read");
    waitpid(pid, NULL, 0);
    compare("made in a chroot", of("jailed"), theirs);
    if (!(pid = fork())) {
        become_nobody();
        compare("seen by nobody", of("../mine"), mine);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void mounts(void)
{
    must(raw(SYS_mkdir, "m", 0755, 0, 0), "m");
    must(raw(SYS_mkdir, "below", 0755, 0, 0), "below");
    must(raw(SYS_mkdir, "below/in", 0755, 0, 0), "in");
    file("below/x");
    file("below/in/y");
    struct id below = of("below"), x = of("below/x"), m = of("m");
    int old = raw(SYS_open, "m", O_PATH, 0, 0);
    must(raw(SYS_unshare, CLONE_NEWNS, 0, 0, 0), "unshare");
    must(mount("below", "m", NULL, MS_BIND, NULL) ? -errno : 0, "bind");
    compare("bound directory", of("m"), below);
    compare("what it covers", of("m"), m);
    compare("covered directory by descriptor", of_fd(old), m);
    compare("file below a bind mount", of("m/x"), x);
    compare("up from a bind mount", of("m/in/../.."), of("."));
    file("m/new");
    compare("file made below a bind mount", of("below/new"), of("m/new"));
    say("device number of a bind mount: %s\n", of("m/x").dev == x.dev ? "one" : "two");
    must(mount("t", "below/in", "tmpfs", 0, NULL) ? -errno : 0, "tmpfs");
    file("below/in/y");
    compare("file system below", of("below/in/y"), of("m/in/y"));
    say("device number of a tmpfs: %s\n", of("below/in/y").dev == x.dev ? "one" : "two");
    struct stat f, g;
    raw(SYS_stat, "below/in", &f, 0, 0);
    raw(SYS_stat, "/proc", &g, 0, 0);
    say("device number of /proc: %s\n", f.st_dev == g.st_dev ? "one" : "two");
}

/* Numbers of many files: none twice, none zero, by stat as by the directory. */
static void many(void)
{
    enum { FILES = 500 };
    static struct id seen[FILES];
    int twice = 0, zero = 0;
    char name[64];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "many%d", i);
        file(name);
        seen[i] = of(name);
        zero += !seen[i].ino;
        for (int k = 0; k < i; k++)
            twice += seen[k].ino == seen[i].ino;
    }
    say("of %d files: %d twice, %d zero\n", FILES, twice, zero);
}

static void same(void)
{
    names();
    descriptors();
    processes();
    many();
    mounts();
}

static void reuse(void)
{
    file("again");
    struct id first = of("again");
    must(raw(SYS_unlink, "again", 0, 0, 0), "unlink");
    file("again");
    compare("file deleted and made again", of("again"), first);
    must(raw(SYS_mkdir, "anew", 0755, 0, 0), "anew");
    first = of("anew");
    must(raw(SYS_rmdir, "anew", 0, 0, 0), "anew");
    must(raw(SYS_mkdir, "anew", 0755, 0, 0), "anew");
    compare("directory deleted and made again", of("anew"), first);
    must(raw(SYS_symlink, "x", "anew/s", 0, 0), "s");
    first = of("anew/s");
    must(raw(SYS_unlink, "anew/s", 0, 0, 0), "s");
    must(raw(SYS_symlink, "x", "anew/s", 0, 0), "s");
    compare("link deleted and made again", of("anew/s"), first);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    return in_place(argv[2], argv, !strcmp(argv[1], "same") ? same : reuse);
}
