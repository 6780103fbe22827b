/* calls_odd GROUP: calls in surroundings that change under them.
 *
 * GROUP: gone, moved, mounts, threads, limits, waits, passed. */
#include "calls_places.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/un.h>

static void say_stat(const char *what, int dir, const char *path, int flags)
{
    struct stat s;
    long r = raw(SYS_newfstatat, dir, path, &s, flags);
    say("%s: %s %s\n", what, number(r), r ? "" : stat_fields(&s));
}

static long make(const char *path)
{
    long fd = raw(SYS_open, path, O_WRONLY | O_CREAT, 0644, 0);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 0;
}

/* Everything that changes names or times, with relative paths. */
static void say_changes(const char *what)
{
    const char *self = ".";
    const struct {
        const char *name;
        long result;
    } made[] = {
        {"open", make("n")},
        {"mkdir", raw(SYS_mkdir, "k", 0755, 0, 0)},
        {"rename", raw(SYS_rename, "n", "o", 0, 0)},
        {"link", raw(SYS_link, "o", "p", 0, 0)},
        {"symlink", raw(SYS_symlink, "o", "q", 0, 0)},
        {"mknod", raw(SYS_mknod, "r", S_IFIFO | 0600, 0, 0)},
        {"chmod", raw(SYS_chmod, self, 0755, 0, 0)},
        {"chown", raw(SYS_chown, self, 0, 0, 0)},
        {"utimes", raw(SYS_utimes, self, NULL, 0, 0)},
        {"setxattr", raw6(SYS_setxattr, (long)self, (long)"user.a", (long)"1", 1, 0, 0)},
        {"truncate", raw(SYS_truncate, "o", 9, 0, 0)},
        {"rmdir", raw(SYS_rmdir, "k", 0, 0, 0)},
        {"unlink", raw(SYS_unlink, "p", 0, 0, 0)},
        {"unlink", raw(SYS_unlink, "o", 0, 0, 0)},
        {"unlink", raw(SYS_unlink, "q", 0, 0, 0)},
        {"unlink", raw(SYS_unlink, "r", 0, 0, 0)},
    };
    say("%s:", what);
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        say(" %s %s", made[i].name, number(made[i].result));
    say("\n");
}

static void gone(void)
{
    must(raw(SYS_mkdir, "parent", 0711, 0, 0), "parent");
    must(raw(SYS_mkdir, "parent/cwd", 0700, 0, 0), "cwd");
    must(raw(SYS_chdir, "parent/cwd", 0, 0, 0), "cwd");
    must(raw(SYS_rmdir, "../cwd", 0, 0, 0), "rmdir");
    static const char *const paths[] = {".", "..", "x", "../x", "./", "../..", "", "../cwd",
                                        "/proc/self/cwd", "/proc/self/cwd/", "/proc/self/cwd/.."};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        say_stat(paths[i], AT, paths[i], AT_EMPTY_PATH);
    say("open %s", number(raw(SYS_open, ".", O_RDONLY, 0, 0)));
    say(" statfs %s temporary %s\n", number(raw(SYS_statfs, ".", page, 0, 0)),
        number(raw(SYS_open, ".", O_TMPFILE | O_RDWR, 0600, 0)));
    say_changes("in a directory that is gone");
    must(raw(SYS_mkdir, "../cwd", 0755, 0, 0), "again");
    say_changes("though there is another of its name");
    say_stat("it is", AT, ".", 0);
    say_stat("the other is", AT, "../cwd", 0);
    must(raw(SYS_rmdir, "../cwd", 0, 0, 0), "rmdir");
    must(raw(SYS_rmdir, "../../parent", 0, 0, 0), "parent");
    say_stat("now the parent is", AT, "..", 0);
    say_stat("and its parent", AT, "../..", 0);
}

static void moved(void)
{
    must(raw(SYS_mkdir, "a", 0711, 0, 0), "a");
    must(raw(SYS_mkdir, "a/b", 0700, 0, 0), "a/b");
    must(raw(SYS_mkdir, "c", 0751, 0, 0), "c");
    put("a/b/x", "1", 0644);
    put("x", "22", 0644);
    put("c/x", "333", 0644);
    must(raw(SYS_chdir, "a/b", 0, 0, 0), "a/b");
    int dir = raw(SYS_open, ".", O_RDONLY, 0, 0), file = raw(SYS_open, "x", O_RDONLY, 0, 0);
    must(raw(SYS_rename, "../../a/b", "../../c/moved", 0, 0), "rename");
    say_stat("relative", AT, "x", 0);
    say_stat("up", AT, "../x", 0);
    say_stat("by descriptor", dir, "x", 0);
    say_stat("up by descriptor", dir, "../x", 0);
    say_stat("file by descriptor", file, "", AT_EMPTY_PATH);
    say_stat("by magic link", AT, "/proc/self/cwd/x", 0);
    say_changes("in a directory that was moved");
    must(raw(SYS_mkdir, "../../a/b", 0755, 0, 0), "again");
    put("../../a/b/x", "4444", 0600);
    say_stat("relative again", AT, "x", 0);
    must(raw(SYS_rename, "x", "y", 0, 0), "rename");
    say_stat("moved file by descriptor", file, "", AT_EMPTY_PATH);
    say("truncate %s chmod %s\n", number(raw(SYS_truncate, "y", 0, 0, 0)),
        number(raw(SYS_fchmod, file, 0601, 0, 0)));
    say_stat("then", file, "", AT_EMPTY_PATH);
    put("odd\n(deleted)", "odd", 0600);
    int odd = raw(SYS_open, "odd\n(deleted)", O_RDONLY, 0, 0);
    say_stat("odd name", odd, "", AT_EMPTY_PATH);
    put("z (deleted)", "55555", 0600);
    put("z", "1", 0600);
    odd = raw(SYS_open, "z", O_RDONLY, 0, 0);
    must(raw(SYS_unlink, "z", 0, 0, 0), "unlink");
    say_stat("deleted beside a file called so", odd, "", AT_EMPTY_PATH);
    int other = raw(SYS_open, "z (deleted)", O_RDONLY, 0, 0);
    say_stat("that file", other, "", AT_EMPTY_PATH);
    must(raw(SYS_mkdir, "\xff\xfe\x01", 0700, 0, 0), "bytes");
    must(raw(SYS_chdir, "\xff\xfe\x01", 0, 0, 0), "bytes");
    put("\\ \t\n", "666666", 0600);
    say_stat("any bytes", AT, "\\ \t\n", 0);
    say_changes("in a directory with a name of any bytes");
}

static void odd_mounts(void)
{
    must(raw(SYS_mkdir, "m", 0755, 0, 0), "m");
    must(raw(SYS_mkdir, "ro", 0755, 0, 0), "ro");
    put("m/x", "1", 0644);
    must(raw(SYS_chdir, "m", 0, 0, 0), "m");
    int dir = raw(SYS_open, ".", O_RDONLY, 0, 0);
    must(raw(SYS_unshare, CLONE_NEWNS, 0, 0, 0), "unshare");
    must(mount("t", "../m", "tmpfs", 0, "size=8k,mode=750") ? -errno : 0, "tmpfs");
    say_stat("covered working directory", AT, ".", 0);
    say_stat("covered file", AT, "x", 0);
    say_stat("covering directory", AT, "../m", 0);
    say_stat("covering file", AT, "../m/x", 0);
    say_stat("covered by descriptor", dir, "x", 0);
    say_changes("in a covered directory");
    say("rename to another mount %s", number(raw(SYS_rename, "x", "../m/x", 0, 0)));
    say(", link %s exchange %s\n", number(raw(SYS_link, "x", "../m/x", 0, 0)),
        number(raw6(SYS_renameat2, AT, (long)"x", AT, (long)"../m", 2, 0)));
    say("rmdir of a mount point %s", number(raw(SYS_rmdir, "../m", 0, 0, 0)));
    say(" rename %s\n", number(raw(SYS_rename, "../m", "../n", 0, 0)));
    must(raw(SYS_chdir, "../m", 0, 0, 0), "m");
    say_changes("in the covering directory");
    int fd = raw(SYS_open, "big", O_WRONLY | O_CREAT, 0600, 0);
    say("full file system: %s", number(raw(SYS_write, fd, constant, PAGE, 0)));
    say(" %s", number(raw(SYS_write, fd, constant, PAGE, 0)));
    say(" %s\n", number(raw(SYS_write, fd, constant, PAGE, 0)));
    say_stat("then", fd, "", AT_EMPTY_PATH);
    must(raw(SYS_chdir, "..", 0, 0, 0), "..");
    must(mount("ro", "ro", NULL, MS_BIND, NULL) ? -errno : 0, "bind");
    put("ro/o", "1", 0644);
    must(mount(NULL, "ro", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) ? -errno : 0, "ro");
    must(raw(SYS_chdir, "ro", 0, 0, 0), "ro");
    say_changes("in a read-only mount");
    say("read-only: open %s to write %s\n", number(raw(SYS_open, "o", O_RDONLY, 0, 0)),
        number(raw(SYS_open, "o", O_WRONLY, 0, 0)));
    must(raw(SYS_chdir, "..", 0, 0, 0), "..");
    must(umount2("m", MNT_DETACH) ? -errno : 0, "umount");
    say_stat("file of a mount that is gone", fd, "", AT_EMPTY_PATH);
    say_stat("uncovered file", AT, "m/x", 0);
}

static pthread_barrier_t barrier;

static void *other_thread(void *unused)
{
    must(raw(SYS_unshare, CLONE_FS | CLONE_FILES, 0, 0, 0), "unshare");
    must(raw(SYS_chdir, "two", 0, 0, 0), "two");
    keep(raw(SYS_open, "two", O_RDONLY, 0, 0), FD_LAST);
    umask(077);
    pthread_barrier_wait(&barrier);
    say_stat("second thread, its name", AT, "x", 0);
    say_stat("second thread, its descriptor", FD_LAST, "", AT_EMPTY_PATH);
    say_stat("second thread, by /proc/thread-self", AT, "/proc/thread-self/cwd/x", 0);
    say_stat("second thread, by /proc/self", AT, "/proc/self/cwd/x", 0);
    say_stat("second thread, by /dev/fd", AT, "/dev/fd/21", 0);
    say_changes("second thread");
    say("made %s\n", number(raw(SYS_open, "made", O_WRONLY | O_CREAT, 0666, 0)));
    say_stat("made by the second thread", AT, "made", 0);
    return unused;
}

static void threads(void)
{
    pthread_t thread;
    must(raw(SYS_mkdir, "one", 0755, 0, 0), "one");
    must(raw(SYS_mkdir, "two", 0755, 0, 0), "two");
    put("one/x", "1", 0644);
    put("two/x", "22", 0644);
    put("one/one", "333", 0644);
    put("two/two", "4444", 0644);
    pthread_barrier_init(&barrier, NULL, 2);
    keep(raw(SYS_open, "one/one", O_RDONLY, 0, 0), FD_LAST);
    if (pthread_create(&thread, NULL, other_thread, NULL))
        _exit(97);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    must(raw(SYS_chdir, "one", 0, 0, 0), "one");
    say_stat("first thread, its name", AT, "x", 0);
    say_stat("first thread, its descriptor", FD_LAST, "", AT_EMPTY_PATH);
    say_changes("first thread");
    say("made %s\n", number(raw(SYS_open, "made", O_WRONLY | O_CREAT, 0666, 0)));
    say_stat("made by the first thread", AT, "made", 0);
}

static void limits(void)
{
    struct rlimit few = {40, 40}, small = {3, RLIM_INFINITY}, large = {RLIM_INFINITY, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    put("x", "12345", 0600);
    umask(027);
    say("made %s\n", number(raw(SYS_mkdir, "masked", 0777, 0, 0)));
    say_stat("mode after umask", AT, "masked", 0);
    must(raw(SYS_mkdir, "group", 0755, 0, 0), "group");
    must(raw(SYS_chown, "group", 0, 12, 0), "group");
    must(raw(SYS_chmod, "group", 02775, 0, 0), "group");
    say("in a setgid directory %s %s\n", number(make("group/file")),
        number(raw(SYS_mkdir, "group/directory", 0755, 0, 0)));
    say_stat("its file", AT, "group/file", 0);
    say_stat("its directory", AT, "group/directory", 0);
    put("suid", "1", 06755);
    say("chown of a setuid file %s\n", number(raw(SYS_chown, "suid", 12, 12, 0)));
    say_stat("takes that away", AT, "suid", 0);
    say("write to the running program %s\n",
        number(raw(SYS_open, "/proc/self/exe", O_WRONLY, 0, 0)));
    must(setrlimit(RLIMIT_FSIZE, &small) ? -errno : 0, "setrlimit");
    long beyond = raw(SYS_truncate, "x", 10, 0, 0);
    must(setrlimit(RLIMIT_FSIZE, &large) ? -errno : 0, "setrlimit");
    say("beyond the size limit %s\n", number(beyond));
    must(setrlimit(RLIMIT_NOFILE, &few) ? -errno : 0, "setrlimit");
    long fd;
    while ((fd = raw(SYS_open, "x", O_RDONLY, 0, 0)) >= 0)
        ;
    say("no number left: %s", number(fd));
    say(" create %s", number(raw(SYS_open, "never", O_WRONLY | O_CREAT, 0600, 0)));
    say(" missing %s\n", number(raw(SYS_open, "none", O_RDONLY, 0, 0)));
    say_stat("was it made", AT, "never", 0);
    say_stat("stat without a number left", AT, "x", 0);
    say("chmod %s", number(raw(SYS_chmod, "x", 0604, 0, 0)));
    say(" utimes %s", number(raw(SYS_utimes, "x", NULL, 0, 0)));
    say(" rename %s\n", number(raw(SYS_rename, "x", "y", 0, 0)));
}

static void on_alarm(int number)
{
    (void)number;
}

/* Opens that wait: who answers them must not wait for one while the other end needs an answer. */
static void waits(void)
{
    struct stat s;
    int status, pid;
    must(raw(SYS_mknod, "fifo", S_IFIFO | 0600, 0, 0), "fifo");
    if (!(pid = fork())) {
        raw(SYS_stat, "fifo", &s, 0, 0);
        int fd = raw(SYS_open, "fifo", O_WRONLY, 0, 0);
        _exit(write(fd, "hello", 5) != 5);
    }
    char text[8] = "";
    int fd = raw(SYS_open, "fifo", O_RDONLY, 0, 0);
    say("read %s %s\n", number(read(fd, text, 5)), text);
    close(fd);
    waitpid(pid, &status, 0);
    say("writer %x\n", status);
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    if (!(pid = fork())) {
        usleep(1000);
        kill(getppid(), SIGALRM);
        for (int i = 0; i < 200 && kill(getppid(), 0) == 0; i++) {
            struct timespec real = {0, 5000000};
            syscall(SYS_pselect6, 0, NULL, NULL, NULL, &real, NULL);
            kill(getppid(), SIGALRM);
        }
        _exit(0);
    }
    say("open interrupted %s\n", number(raw(SYS_open, "fifo", O_RDONLY, 0, 0)));
    signal(SIGALRM, SIG_IGN);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

/* A descriptor that came through a socket, and one that came through exec. */
static void passed(void)
{
    int pair[2], status;
    put("sent", "sent!", 0640);
    must(raw(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
    char byte = 'x', room[CMSG_SPACE(sizeof(int))] = "";
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room,
                             .msg_controllen = sizeof room};
    int pid = fork();
    if (!pid) {
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        int fd = raw(SYS_open, "sent", O_RDWR, 0, 0);
        *head = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
        must(raw(SYS_unlink, "sent", 0, 0, 0), "unlink");
        _exit(sendmsg(pair[0], &message, 0) != 1);
    }
    must(recvmsg(pair[1], &message, 0) - 1, "recvmsg");
    waitpid(pid, &status, 0);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    say_stat("from a process that ended", fd, "", AT_EMPTY_PATH);
    say("ftruncate %s\n", number(raw(SYS_ftruncate, fd, 2, 0, 0)));
    say_stat("then", fd, "", AT_EMPTY_PATH);
    char shown[64];
    snprintf(shown, sizeof shown, "stat -L -c '%%a %%h %%s' /proc/self/fd/%d - <&%d", fd, fd);
    execl("/bin/sh", "sh", "-c", shown, NULL);
}

static const struct {
    const char *name;
    void (*run)(void);
} groups[] = {
    {"gone", gone},     {"moved", moved},   {"mounts", odd_mounts}, {"threads", threads},
    {"limits", limits}, {"waits", waits},   {"passed", passed},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 3 && i < sizeof groups / sizeof *groups; i++)
        if (!strcmp(argv[1], groups[i].name))
            return in_place(argv[2], argv, groups[i].run);
    return 2;
}
