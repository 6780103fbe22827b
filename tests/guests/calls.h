/* What the guests calls_*.c share: a state directory, named situations, and lines about answers.
 *
 * A line is "CALL SITUATION: RESULT ..." with what the kernel keeps stable about a file. Times, inode
 * and device numbers and sizes of directories are left out, because nsbuild answers those itself. */
#ifndef CALLS_H
#define CALLS_H
#include "guest.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define AT AT_FDCWD
#define STATE "s"
#define UNMAPPED ((char *)0x10000000001000)
/* One page that can be written, then one that is not mapped. */
static char *page;
/* A page that can only be read: it holds an "f" and zeros. */
static char *constant;
#define PAGE 4096
#define EDGE (page + PAGE)

enum { FD_DIR = 10, FD_FILE, FD_PATHDIR, FD_PATH, FD_LINK, FD_GONEDIR, FD_GONE, FD_WRITE, FD_PIPE,
       FD_SOCKET, FD_ANON, FD_LAST };

static inline const char *error_name(long r)
{
    const char *name = r < 0 && r > -4096 ? strerrorname_np(-r) : NULL;
    return name ? name : "";
}

/* A number as it is, or the name of its error. */
static inline const char *number(long r)
{
    static char text[4][32];
    static int turn;
    turn = (turn + 1) % 4;
    if (*error_name(r))
        return error_name(r);
    snprintf(text[turn], sizeof *text, "%ld", r);
    return text[turn];
}

static inline void must(long r, const char *what)
{
    if (r < 0 && r > -4096) {
        say("calls: %s: %s\n", what, error_name(r));
        _exit(98);
    }
}

static inline const char *fields(char *text, size_t size, mode_t mode, unsigned long links,
                                 unsigned uid, unsigned gid, long long length, unsigned long rdev)
{
    if (S_ISDIR(mode))
        snprintf(text, size, "mode %o owner %u:%u", mode, uid, gid);
    else
        snprintf(text, size, "mode %o links %lu owner %u:%u size %lld rdev %lx", mode, links, uid,
                 gid, length, rdev);
    return text;
}

static inline const char *stat_fields(const struct stat *s)
{
    static char text[256];
    return fields(text, sizeof text, s->st_mode, s->st_nlink, s->st_uid, s->st_gid, s->st_size,
                  s->st_rdev);
}

/* Removes `name` and what is below it; directories are opened first, so their modes matter not. */
static inline void wipe(int dir, const char *name)
{
    if (!raw(SYS_unlinkat, dir, name, 0, 0))
        return;
    raw(SYS_fchmodat, dir, name, 0700, 0);
    int fd = raw(SYS_openat, dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0) {
        static char buffer[8][2048];
        static int depth;
        char *own = buffer[depth++];
        long n;
        while ((n = raw(SYS_getdents64, fd, own, sizeof *buffer, 0)) > 0)
            for (char *at = own; at < own + n; at += *(unsigned short *)(at + 16))
                if (strcmp(at + 19, ".") && strcmp(at + 19, ".."))
                    wipe(fd, at + 19);
        depth--;
        close(fd);
    }
    raw(SYS_unlinkat, dir, name, AT_REMOVEDIR, 0);
}

static inline void put(const char *name, const char *text, mode_t mode)
{
    int fd = raw(SYS_open, name, O_WRONLY | O_CREAT | O_EXCL, 0600, 0);
    must(fd, name);
    must(raw(SYS_write, fd, text, strlen(text), 0), name);
    raw(SYS_fchmod, fd, mode, 0, 0);
    close(fd);
}

static inline void keep(int fd, int as)
{
    must(fd, "open");
    if (fd != as) {
        must(raw(SYS_dup3, fd, as, 0, 0), "dup3");
        close(fd);
    }
}

/* The descriptors that situations speak of, at fixed numbers above those that calls hand out. */
static inline void open_state(void)
{
    keep(raw(SYS_open, "full", O_RDONLY | O_DIRECTORY, 0, 0), FD_DIR);
    keep(raw(SYS_open, "f", O_RDONLY, 0, 0), FD_FILE);
    keep(raw(SYS_open, "full", O_PATH, 0, 0), FD_PATHDIR);
    keep(raw(SYS_open, "f", O_PATH, 0, 0), FD_PATH);
    keep(raw(SYS_open, "lf", O_PATH | O_NOFOLLOW, 0, 0), FD_LINK);
    keep(raw(SYS_open, "f", O_WRONLY, 0, 0), FD_WRITE);
    must(raw(SYS_mkdir, "gone", 0755, 0, 0), "gone");
    keep(raw(SYS_open, "gone", O_RDONLY, 0, 0), FD_GONEDIR);
    must(raw(SYS_rmdir, "gone", 0, 0, 0), "gone");
    put("gone", "gone", 0644);
    keep(raw(SYS_open, "gone", O_RDWR, 0, 0), FD_GONE);
    must(raw(SYS_unlink, "gone", 0, 0, 0), "gone");
}

/* What is in STATE: a name, its mode, and the text of a file or link. */
static const struct entry {
    const char *name;
    mode_t mode;
    const char *text;
} entries[] = {
    {"f", S_IFREG | 0644, "hello"},
    {"twin", S_IFREG | 0604, "twins"},
    {"twin2", 0, "twin"},
    {"e", S_IFDIR | 0755, ""},
    {"full", S_IFDIR | 0751, ""},
    {"full/x", S_IFREG | 0640, "inner"},
    {"fifo", S_IFIFO | 0600, ""},
    {"lf", S_IFLNK, "f"},
    {"ld", S_IFLNK, "full"},
    {"lnone", S_IFLNK, "none"},
    {"loop", S_IFLNK, "loop"},
    {"lup", S_IFLNK, "../s/f"},
    {"lfd", S_IFLNK, "/proc/self/fd/11"},
    {"lcwd", S_IFLNK, "/proc/self/cwd/f"},
    {"lslash", S_IFLNK, "e/"},
    {"lback", S_IFLNK, "full/../f"},
    {"lstdin", S_IFLNK, "/dev/stdin"},
};
#define ENTRIES (sizeof entries / sizeof *entries)

static inline void make_entry(const struct entry *e)
{
    if (S_ISREG(e->mode))
        put(e->name, e->text, e->mode & 07777);
    else if (S_ISDIR(e->mode))
        must(raw(SYS_mkdir, e->name, e->mode & 07777, 0, 0), e->name);
    else if (S_ISLNK(e->mode))
        must(raw(SYS_symlink, e->text, e->name, 0, 0), e->name);
    else if (e->mode)
        must(raw(SYS_mknod, e->name, e->mode, 0, 0), e->name);
    else
        must(raw(SYS_link, e->text, e->name, 0, 0), e->name);
}

/* STATE, with the working directory in it. */
static inline void make_state(void)
{
    must(raw(SYS_mkdir, STATE, 0755, 0, 0), STATE);
    must(raw(SYS_chdir, STATE, 0, 0, 0), STATE);
    for (size_t i = 0; i < ENTRIES; i++)
        make_entry(&entries[i]);
    open_state();
}

static inline void drop_state(void)
{
    must(raw(SYS_chdir, "..", 0, 0, 0), "..");
    wipe(AT, STATE);
}

/* Set by who cannot make anew what belongs to root. */
static int no_root __attribute__((unused));

/* What belongs to root, beside STATE; made anew when root has changed it. */
static inline void make_others(void)
{
    must(raw(SYS_mkdir, "closed", 0700, 0, 0), "closed");
    put("closed/x", "closed", 0666);
    must(raw(SYS_mkdir, "listed", 0744, 0, 0), "listed");
    put("listed/x", "listed", 0666);
    must(raw(SYS_mkdir, "hidden", 0711, 0, 0), "hidden");
    put("hidden/x", "hidden", 0600);
    put("hidden/group", "group", 0640);
    must(raw(SYS_mkdir, "sticky", 01777, 0, 0), "sticky");
    raw(SYS_chmod, "sticky", 01777, 0, 0);
    put("sticky/x", "sticky", 0666);
    raw(SYS_chown, "hidden/group", 0, 12, 0);
}

static inline void drop_others(void)
{
    static const char *const names[] = {"closed", "listed", "hidden", "sticky"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        wipe(AT, names[i]);
}

/* Things beside STATE: chains of links, what others may not enter, descriptors, pages. */
static inline void make_scene(void)
{
    constant = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *constant = 'f';
    mprotect(constant, PAGE, PROT_READ);
    page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(EDGE, PAGE);
    must(raw(SYS_mkdir, "chain", 0755, 0, 0), "chain");
    put("chain/0", "end", 0644);
    for (int i = 1; i <= 41; i++) {
        char from[32], to[32];
        snprintf(from, sizeof from, "%d", i - 1);
        snprintf(to, sizeof to, "chain/%d", i);
        must(raw(SYS_symlink, from, to, 0, 0), to);
    }
    make_others();
    keep(raw(SYS_open, "chain/0", O_RDONLY, 0, 0), 0);
    int pipes[2], pair[2];
    must(raw(SYS_pipe2, pipes, O_NONBLOCK, 0, 0), "pipe");
    keep(pipes[0], FD_PIPE);
    close(pipes[1]);
    must(raw(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
    keep(pair[0], FD_SOCKET);
    close(pair[1]);
    keep(raw(SYS_memfd_create, "memory", 0, 0, 0), FD_ANON);
}
#endif
