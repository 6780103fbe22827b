/* calls_stat GROUP PLACE: asks what a file is, in every situation.
 *
 * GROUP: paths (calls with a path), numbers (calls with a descriptor), buffers (where to write). */
#include "calls_situations.h"

#include <sys/vfs.h>

#define FILL 0xa5

/* A struct stat, where an untouched one can be told from one that was written. */
static union {
    struct stat s;
    struct statx x;
    struct statfs f;
    unsigned char bytes[512];
} answer;

static int untouched(const unsigned char *bytes, size_t size)
{
    while (size && bytes[size - 1] == FILL)
        size--;
    return !size;
}

static void fresh(void)
{
    memset(&answer, FILL, sizeof answer);
}

static long judge(long r, size_t size)
{
    if (r < 0 && !untouched(answer.bytes, sizeof answer))
        strcpy(extra, " though it failed, it wrote");
    if (r == 0 && !untouched(answer.bytes + size, sizeof answer - size))
        strcpy(extra, " wrote too much");
    return r;
}

static long judge_stat(long r)
{
    if (!judge(r, sizeof answer.s))
        snprintf(extra, sizeof extra, " %s", stat_fields(&answer.s));
    return r;
}

static long judge_statx(long r, unsigned asked)
{
    const struct statx *x = &answer.x;
    char text[256];
    if (judge(r, sizeof *x))
        return r;
    fields(text, sizeof text, x->stx_mode, x->stx_nlink, x->stx_uid, x->stx_gid, x->stx_size,
           makedev(x->stx_rdev_major, x->stx_rdev_minor));
    snprintf(extra, sizeof extra, " %s mask %x", text, x->stx_mask & asked & STATX_BASIC_STATS);
    return r;
}

static long judge_statfs(long r)
{
    judge(r, sizeof answer.f);
    return r;
}

#define STAT(nr)                                                                                   \
    (fresh(), (void)dir, judge_stat(raw(nr, path, &answer.s, 0, 0)))
#define STATAT(flags) (fresh(), judge_stat(raw(SYS_newfstatat, dir, path, &answer.s, flags)))
#define STATX(flags, mask)                                                                         \
    (fresh(),                                                                                      \
     judge_statx(raw6(SYS_statx, dir, (long)path, flags, mask, (long)&answer.x, 0), mask))
#define CALL(name, expression)                                                                     \
    static long name(int dir, const char *path)                                                    \
    {                                                                                              \
        return expression;                                                                         \
    }

CALL(do_stat, STAT(SYS_stat))
CALL(do_lstat, STAT(SYS_lstat))
CALL(do_newfstatat, STATAT(0))
CALL(do_newfstatat_nofollow, STATAT(AT_SYMLINK_NOFOLLOW))
CALL(do_newfstatat_empty, STATAT(AT_EMPTY_PATH))
CALL(do_newfstatat_empty_nofollow, STATAT(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
CALL(do_newfstatat_automount, STATAT(AT_NO_AUTOMOUNT))
CALL(do_newfstatat_invalid, STATAT(AT_REMOVEDIR))
CALL(do_newfstatat_follow, STATAT(AT_SYMLINK_FOLLOW))
CALL(do_newfstatat_sync, STATAT(AT_STATX_DONT_SYNC))
CALL(do_newfstatat_high, STATAT(0x100000000))
CALL(do_statx, STATX(0, STATX_BASIC_STATS))
CALL(do_statx_nothing, STATX(0, 0))
CALL(do_statx_all, STATX(0, 0x0fff))
CALL(do_statx_nofollow, STATX(AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS))
CALL(do_statx_empty, STATX(AT_EMPTY_PATH, STATX_BASIC_STATS))
CALL(do_statx_empty_nofollow, STATX(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BTIME))
CALL(do_statx_force, STATX(AT_STATX_FORCE_SYNC, STATX_BASIC_STATS))
CALL(do_statx_both, STATX(AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_BASIC_STATS))
CALL(do_statx_reserved, STATX(0, 0x80000000u))
CALL(do_statx_invalid, STATX(AT_REMOVEDIR, STATX_BASIC_STATS))
CALL(do_statfs, (fresh(), (void)dir, judge_statfs(raw(SYS_statfs, path, &answer.f, 0, 0))))
CALL(do_access, ((void)dir, raw(SYS_access, path, R_OK, 0, 0)))
CALL(do_faccessat2, raw(SYS_faccessat2, dir, path, R_OK, AT_EACCESS | AT_EMPTY_PATH))

static const struct call path_calls[] = {
    {"stat", KEEP | MAIN, do_stat},
    {"lstat", KEEP | MAIN, do_lstat},
    {"newfstatat", KEEP | AT_CALL, do_newfstatat},
    {"newfstatat-nofollow", KEEP | AT_CALL, do_newfstatat_nofollow},
    {"newfstatat-empty", KEEP | AT_CALL | MAIN, do_newfstatat_empty},
    {"newfstatat-empty-nofollow", KEEP | AT_CALL, do_newfstatat_empty_nofollow},
    {"newfstatat-automount", KEEP | AT_CALL, do_newfstatat_automount},
    {"newfstatat-invalid", KEEP | AT_CALL, do_newfstatat_invalid},
    {"newfstatat-follow", KEEP | AT_CALL, do_newfstatat_follow},
    {"newfstatat-sync", KEEP | AT_CALL, do_newfstatat_sync},
    {"newfstatat-high-bit", KEEP | AT_CALL, do_newfstatat_high},
    {"statx", KEEP | AT_CALL, do_statx},
    {"statx-nothing", KEEP | AT_CALL, do_statx_nothing},
    {"statx-all", KEEP | AT_CALL, do_statx_all},
    {"statx-nofollow", KEEP | AT_CALL, do_statx_nofollow},
    {"statx-empty", KEEP | AT_CALL, do_statx_empty},
    {"statx-empty-nofollow", KEEP | AT_CALL | MAIN, do_statx_empty_nofollow},
    {"statx-force", KEEP | AT_CALL, do_statx_force},
    {"statx-force-and-not", KEEP | AT_CALL, do_statx_both},
    {"statx-reserved", KEEP | AT_CALL, do_statx_reserved},
    {"statx-invalid", KEEP | AT_CALL, do_statx_invalid},
    {"statfs", KEEP, do_statfs},
    {"access", KEEP, do_access},
    {"faccessat2", KEEP | AT_CALL, do_faccessat2},
};

static void paths(void)
{
    for_each(path_calls, sizeof path_calls / sizeof *path_calls);
}

static void numbers(void)
{
    static const int others[] = {-1, AT, 999, 0x7fffffff, 0, FD_PIPE, FD_SOCKET, FD_ANON};
    make_state();
    for (size_t i = 0; i < FD_LAST - FD_DIR + sizeof others / sizeof *others; i++) {
        int fd = i < FD_LAST - FD_DIR ? FD_DIR + (int)i : others[i - (FD_LAST - FD_DIR)];
        *extra = 0;
        fresh();
        long r = judge_stat(raw(SYS_fstat, fd, &answer.s, 0, 0));
        say("fstat %d: %s%s\n", fd, number(r), extra);
        *extra = 0;
        fresh();
        r = raw(SYS_fstatfs, fd, &answer.f, 0, 0);
        judge(r, sizeof answer.f);
        say("fstatfs %d: %s%s\n", fd, number(r), extra);
    }
    say("fstat high bits: %s\n", number(raw(SYS_fstat, FD_FILE | 1l << 32, &answer.s, 0, 0)));
    drop_state();
}

/* One call with its buffer in a bad place; then how much of a buffer over an edge was written. */
static void one_buffer(const char *where, char *buffer)
{
    static const char *const paths[] = {"f", "e", "none", "", NULL, UNMAPPED, "closed/x", "loop"};
    static const char *const names[] = {"file", "directory", "missing", "empty",
                                        "null", "unmapped",  "closed",  "loop"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const char *p = paths[i];
        say("buffers %s %s: stat %s lstat %s newfstatat %s empty %s bad-fd %s statx %s statfs %s\n",
            where, names[i], error_name(raw(SYS_stat, p, buffer, 0, 0)),
            error_name(raw(SYS_lstat, p, buffer, 0, 0)),
            error_name(raw(SYS_newfstatat, AT, p, buffer, 0)),
            error_name(raw(SYS_newfstatat, FD_DIR, p, buffer, AT_EMPTY_PATH)),
            error_name(raw(SYS_newfstatat, 999, p, buffer, AT_EMPTY_PATH)),
            error_name(raw6(SYS_statx, AT, (long)p, 0, STATX_BASIC_STATS, (long)buffer, 0)),
            error_name(raw(SYS_statfs, p, buffer, 0, 0)));
    }
    say("buffers %s: fstat %s of nothing %s fstatfs %s of nothing %s\n", where,
        error_name(raw(SYS_fstat, FD_FILE, buffer, 0, 0)),
        error_name(raw(SYS_fstat, 999, buffer, 0, 0)),
        error_name(raw(SYS_fstatfs, FD_FILE, buffer, 0, 0)),
        error_name(raw(SYS_fstatfs, 999, buffer, 0, 0)));
}

static void buffers(void)
{
    make_state();
    one_buffer("null", NULL);
    one_buffer("unmapped", UNMAPPED);
    one_buffer("constant", constant);
    one_buffer("edge", EDGE);
    one_buffer("over-edge", EDGE - 64);
    one_buffer("fits-stat", EDGE - sizeof(struct stat));
    one_buffer("odd", page + 3);
    one_buffer("kernel", (char *)0xffffffff80000000);
    mprotect(page, PAGE, PROT_NONE);
    one_buffer("closed", page);
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
    drop_state();
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    return in_place(argv[2], argv,
                    !strcmp(argv[1], "paths")     ? paths
                    : !strcmp(argv[1], "numbers") ? numbers
                                                  : buffers);
}
