/* calls_change GROUP PLACE: changes what is known about a file, in every situation.
 *
 * GROUP: paths (calls with a path), numbers (calls with a descriptor), arguments (odd other ones). */
#include "calls_situations.h"

#include <sys/time.h>
#include <utime.h>

static const struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
static const struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
static const struct timespec half[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
static const struct timespec given[2] = {{1000000000, 5}, {1000000001, 6}};
static const struct timespec wrong[2] = {{0, 1000000000}, {0, 0}};
static const struct timeval given_micro[2] = {{1000000000, 5}, {1000000001, 6}};
static const struct timeval wrong_micro[2] = {{0, 1000000}, {0, 0}};
static const struct utimbuf given_seconds = {1000000000, 1000000001};

/* Explicit times are kept to the last digit: say so, except of the links in /proc. */
static long exact(long r, int dir, const char *path, int flags, long nanoseconds)
{
    struct stat s;
    if (!r && !raw(SYS_newfstatat, dir, path, &s, flags | AT_EMPTY_PATH) && s.st_size != 64)
        snprintf(extra, sizeof extra, s.st_mtim.tv_sec == 1000000001 ? " kept %s" : " lost %s",
                 s.st_mtim.tv_nsec == nanoseconds ? "exactly" : "nearly");
    return r;
}

#define CALL(name, expression)                                                                     \
    static long name(int dir, const char *path)                                                    \
    {                                                                                              \
        (void)dir;                                                                                 \
        return expression;                                                                         \
    }

CALL(do_truncate, raw(SYS_truncate, path, 3, 0, 0))
CALL(do_truncate_longer, raw(SYS_truncate, path, 10000, 0, 0))
CALL(do_truncate_negative, raw(SYS_truncate, path, -1, 0, 0))
CALL(do_truncate_huge, raw(SYS_truncate, path, 0x7fffffffffffffff, 0, 0))
CALL(do_chmod, raw(SYS_chmod, path, 0741, 0, 0))
CALL(do_chmod_high, raw(SYS_chmod, path, 0107701, 0, 0))
CALL(do_fchmodat, raw(SYS_fchmodat, dir, path, 02710, 0))
CALL(do_fchmodat_ignored, raw(SYS_fchmodat, dir, path, 0700, AT_SYMLINK_NOFOLLOW))
CALL(do_chown, raw(SYS_chown, path, 12, 34, 0))
CALL(do_chown_nothing, raw(SYS_chown, path, -1, -1, 0))
CALL(do_lchown, raw(SYS_lchown, path, -1, 12, 0))
CALL(do_fchownat, raw6(SYS_fchownat, dir, (long)path, 12, -1, 0, 0))
CALL(do_fchownat_nofollow, raw6(SYS_fchownat, dir, (long)path, 12, 34, AT_SYMLINK_NOFOLLOW, 0))
CALL(do_fchownat_empty, raw6(SYS_fchownat, dir, (long)path, 12, 34, AT_EMPTY_PATH, 0))
CALL(do_fchownat_invalid, raw6(SYS_fchownat, dir, (long)path, 12, 34, AT_REMOVEDIR, 0))
CALL(do_utime, exact(raw(SYS_utime, path, &given_seconds, 0, 0), AT, path, 0, 0))
CALL(do_utime_null, raw(SYS_utime, path, NULL, 0, 0))
CALL(do_utimes, exact(raw(SYS_utimes, path, given_micro, 0, 0), AT, path, 0, 6000))
CALL(do_utimes_null, raw(SYS_utimes, path, NULL, 0, 0))
CALL(do_utimes_wrong, raw(SYS_utimes, path, wrong_micro, 0, 0))
CALL(do_futimesat, exact(raw(SYS_futimesat, dir, path, given_micro, 0), dir, path, 0, 6000))
CALL(do_futimesat_null, raw(SYS_futimesat, dir, path, NULL, 0))
CALL(do_utimensat, exact(raw(SYS_utimensat, dir, path, given, 0), dir, path, 0, 6))
CALL(do_utimensat_null, raw(SYS_utimensat, dir, path, NULL, 0))
CALL(do_utimensat_now, raw(SYS_utimensat, dir, path, now, 0))
CALL(do_utimensat_half, raw(SYS_utimensat, dir, path, half, 0))
CALL(do_utimensat_omit, raw(SYS_utimensat, dir, path, omit, 0))
CALL(do_utimensat_omit_invalid, raw(SYS_utimensat, dir, path, omit, AT_REMOVEDIR))
CALL(do_utimensat_wrong, raw(SYS_utimensat, dir, path, wrong, 0))
CALL(do_utimensat_unmapped, raw(SYS_utimensat, dir, path, UNMAPPED, 0))
CALL(do_utimensat_invalid, raw(SYS_utimensat, dir, path, given, AT_REMOVEDIR))
CALL(do_utimensat_nofollow,
     exact(raw(SYS_utimensat, dir, path, given, AT_SYMLINK_NOFOLLOW), dir, path,
           AT_SYMLINK_NOFOLLOW, 6))
CALL(do_utimensat_empty, exact(raw(SYS_utimensat, dir, path, given, AT_EMPTY_PATH), dir, path, 0, 6))
CALL(do_utimensat_empty_now, raw(SYS_utimensat, dir, path, now, AT_EMPTY_PATH))
CALL(do_setxattr, raw6(SYS_setxattr, (long)path, (long)"user.a", (long)"12", 2, 0, 0))
CALL(do_setxattr_create, raw6(SYS_setxattr, (long)path, (long)"user.a", (long)"1", 1, 1, 0))
CALL(do_setxattr_replace, raw6(SYS_setxattr, (long)path, (long)"user.a", (long)"1", 1, 2, 0))
CALL(do_setxattr_both, raw6(SYS_setxattr, (long)path, (long)"user.a", (long)"1", 1, 3, 0))
CALL(do_lsetxattr, raw6(SYS_lsetxattr, (long)path, (long)"user.a", (long)"1", 1, 0, 0))
CALL(do_lsetxattr_other, raw6(SYS_lsetxattr, (long)path, (long)"nothing.a", (long)"1", 1, 0, 0))
CALL(do_removexattr, raw(SYS_removexattr, path, "user.a", 0, 0))
CALL(do_lremovexattr, raw(SYS_lremovexattr, path, "user.a", 0, 0))

static const struct call path_calls[] = {
    {"truncate", MAIN, do_truncate},
    {"truncate-longer", 0, do_truncate_longer},
    {"truncate-negative", 0, do_truncate_negative},
    {"truncate-huge", 0, do_truncate_huge},
    {"chmod", MAIN, do_chmod},
    {"chmod-high-bits", 0, do_chmod_high},
    {"fchmodat", AT_CALL, do_fchmodat},
    {"fchmodat-ignored-flags", AT_CALL, do_fchmodat_ignored},
    {"chown", 0, do_chown},
    {"chown-nothing", 0, do_chown_nothing},
    {"lchown", 0, do_lchown},
    {"fchownat", AT_CALL, do_fchownat},
    {"fchownat-nofollow", AT_CALL, do_fchownat_nofollow},
    {"fchownat-empty", AT_CALL | MAIN, do_fchownat_empty},
    {"fchownat-invalid", AT_CALL, do_fchownat_invalid},
    {"utime", 0, do_utime},
    {"utime-null", 0, do_utime_null},
    {"utimes", 0, do_utimes},
    {"utimes-null", 0, do_utimes_null},
    {"utimes-wrong", 0, do_utimes_wrong},
    {"futimesat", AT_CALL, do_futimesat},
    {"futimesat-null", AT_CALL, do_futimesat_null},
    {"utimensat", AT_CALL | MAIN, do_utimensat},
    {"utimensat-null", AT_CALL | MAIN, do_utimensat_null},
    {"utimensat-now", AT_CALL, do_utimensat_now},
    {"utimensat-half", AT_CALL, do_utimensat_half},
    {"utimensat-omit", AT_CALL, do_utimensat_omit},
    {"utimensat-omit-invalid", AT_CALL, do_utimensat_omit_invalid},
    {"utimensat-wrong", AT_CALL, do_utimensat_wrong},
    {"utimensat-unmapped", AT_CALL, do_utimensat_unmapped},
    {"utimensat-invalid", AT_CALL, do_utimensat_invalid},
    {"utimensat-nofollow", AT_CALL, do_utimensat_nofollow},
    {"utimensat-empty", AT_CALL, do_utimensat_empty},
    {"utimensat-empty-now", AT_CALL, do_utimensat_empty_now},
    {"setxattr", 0, do_setxattr},
    {"setxattr-create", 0, do_setxattr_create},
    {"setxattr-replace", 0, do_setxattr_replace},
    {"setxattr-both", 0, do_setxattr_both},
    {"lsetxattr", MAIN, do_lsetxattr},
    {"lsetxattr-other", 0, do_lsetxattr_other},
    {"removexattr", 0, do_removexattr},
    {"lremovexattr", 0, do_lremovexattr},
};

static void paths(void)
{
    for_each(path_calls, sizeof path_calls / sizeof *path_calls);
}

#define NUMBERED(name, ...)                                                                        \
    static long name(int dir, const char *path)                                                    \
    {                                                                                              \
        (void)path;                                                                                \
        return raw6(__VA_ARGS__);                                                                  \
    }

NUMBERED(do_fchmod, SYS_fchmod, dir, 0741, 0, 0, 0, 0)
NUMBERED(do_fchown, SYS_fchown, dir, 12, 34, 0, 0, 0)
NUMBERED(do_ftruncate, SYS_ftruncate, dir, 2, 0, 0, 0, 0)
NUMBERED(do_ftruncate_negative, SYS_ftruncate, dir, -2, 0, 0, 0, 0)
NUMBERED(do_fallocate, SYS_fallocate, dir, 0, 0, 100, 0, 0)
NUMBERED(do_fsetxattr, SYS_fsetxattr, dir, (long)"user.a", (long)"1", 1, 0, 0)
NUMBERED(do_fremovexattr, SYS_fremovexattr, dir, (long)"user.a", 0, 0, 0, 0)
NUMBERED(do_futimens, SYS_utimensat, dir, 0, (long)given, 0, 0, 0)
NUMBERED(do_futimens_null, SYS_utimensat, dir, 0, 0, 0, 0, 0)
NUMBERED(do_futimens_omit, SYS_utimensat, dir, 0, (long)omit, 0, 0, 0)
NUMBERED(do_futimens_flag, SYS_utimensat, dir, 0, (long)given, AT_SYMLINK_NOFOLLOW, 0, 0)
NUMBERED(do_futimesat_fd, SYS_futimesat, dir, 0, (long)given_micro, 0, 0, 0)

static const struct call number_calls[] = {
    {"fchmod", 0, do_fchmod},
    {"fchown", 0, do_fchown},
    {"ftruncate", 0, do_ftruncate},
    {"ftruncate-negative", 0, do_ftruncate_negative},
    {"fallocate", 0, do_fallocate},
    {"fsetxattr", 0, do_fsetxattr},
    {"fremovexattr", 0, do_fremovexattr},
    {"futimens", 0, do_futimens},
    {"futimens-null", 0, do_futimens_null},
    {"futimens-omit", 0, do_futimens_omit},
    {"futimens-flag", 0, do_futimens_flag},
    {"futimesat", 0, do_futimesat_fd},
};

static void numbers(void)
{
    static const int fds[] = {FD_DIR, FD_FILE, FD_PATHDIR, FD_PATH, FD_LINK, FD_GONEDIR,
                              FD_GONE, FD_WRITE, FD_PIPE, FD_SOCKET, FD_ANON, -1, AT, 999};
    make_state();
    say_changes("", "");
    for (size_t i = 0; i < sizeof number_calls / sizeof *number_calls; i++)
        for (size_t k = 0; k < sizeof fds / sizeof *fds; k++) {
            char name[32];
            snprintf(name, sizeof name, "number-%d", fds[k]);
            try_one(&number_calls[i], name, fds[k], NULL);
        }
    drop_state();
}

static void arguments(void)
{
    static char value[70000];
    make_state();
    const char *const names[] = {"user.", "user", "", NULL, UNMAPPED, "trusted.a", "security.a",
                                 "system.a", EDGE, page};
    memset(page, 'u', PAGE);
    memcpy(page, "user.", 5);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        say("setxattr name %zu: %s missing file %s\n", i,
            number(raw6(SYS_setxattr, (long)"f", (long)names[i], (long)"1", 1, 0, 0)),
            number(raw6(SYS_setxattr, (long)"none", (long)names[i], (long)"1", 1, 0, 0)));
    static const long sizes[] = {0, 1, 65536, 65537, -1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        say("setxattr size %ld: %s null %s\n", sizes[i],
            number(raw6(SYS_setxattr, (long)"none", (long)"user.a", (long)value, sizes[i], 0, 0)),
            number(raw6(SYS_setxattr, (long)"none", (long)"user.a", 0, sizes[i], 0, 0)));
    const void *const times[] = {UNMAPPED, EDGE, EDGE - 8, constant, page + 1};
    memset(page, 0, PAGE);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        static const char *const paths[] = {"f", "none", NULL, "f/x"};
        for (size_t k = 0; k < sizeof paths / sizeof *paths; k++)
            say("times %zu of %zu: %s %s %s %s\n", i, k,
                error_name(raw(SYS_utime, paths[k], times[i], 0, 0)),
                error_name(raw(SYS_utimes, paths[k], times[i], 0, 0)),
                error_name(raw(SYS_futimesat, AT, paths[k], times[i], 0)),
                error_name(raw(SYS_utimensat, AT, paths[k], times[i], 0)));
    }
    drop_state();
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    return in_place(argv[2], argv,
                    !strcmp(argv[1], "paths")     ? paths
                    : !strcmp(argv[1], "numbers") ? numbers
                                                  : arguments);
}
