/* calls_open GROUP PLACE: opens, in every situation; prints the number given and the flags kept.
 *
 * GROUP: open, openat2. Every open has O_NONBLOCK, since one of the files is a FIFO. */
#include "calls_situations.h"

#include <linux/openat2.h>

/* The descriptor is described and closed again. */
static long judge(long fd)
{
    struct stat s;
    if (fd < 0)
        return fd;
    raw(SYS_fstat, fd, &s, 0, 0);
    long flags = raw(SYS_fcntl, fd, F_GETFL, 0, 0), own = raw(SYS_fcntl, fd, F_GETFD, 0, 0);
    snprintf(extra, sizeof extra, " flags %lo own %ld %s", flags, own, stat_fields(&s));
    raw(SYS_close, fd, 0, 0, 0);
    return fd;
}

#define OPEN(name, flags)                                                                          \
    static long name(int dir, const char *path)                                                    \
    {                                                                                              \
        (void)dir;                                                                                 \
        return judge(raw(SYS_open, path, (flags) | O_NONBLOCK, 0666, 0));                          \
    }
#define OPENAT(name, flags)                                                                        \
    static long name(int dir, const char *path)                                                    \
    {                                                                                              \
        return judge(raw(SYS_openat, dir, path, (flags) | O_NONBLOCK, 0640));                      \
    }

OPEN(open_read, O_RDONLY)
OPEN(open_write, O_WRONLY)
OPEN(open_truncate, O_RDWR | O_TRUNC)
OPEN(open_create, O_WRONLY | O_CREAT)
OPEN(open_exclusive, O_RDWR | O_CREAT | O_EXCL)
OPENAT(openat_read, O_RDONLY | O_CLOEXEC)
OPENAT(openat_write, O_WRONLY)
OPENAT(openat_append, O_WRONLY | O_APPEND | O_LARGEFILE)
OPENAT(openat_both, O_RDWR | O_NOCTTY)
OPENAT(openat_three, O_ACCMODE)
OPENAT(openat_read_truncate, O_RDONLY | O_TRUNC)
OPENAT(openat_create, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC)
OPENAT(openat_exclusive, O_WRONLY | O_CREAT | O_EXCL)
OPENAT(openat_create_nofollow, O_WRONLY | O_CREAT | O_NOFOLLOW)
OPENAT(openat_create_read, O_RDONLY | O_CREAT)
OPENAT(openat_create_directory, O_RDONLY | O_CREAT | O_DIRECTORY)
OPENAT(openat_nofollow, O_RDONLY | O_NOFOLLOW)
OPENAT(openat_write_nofollow, O_WRONLY | O_NOFOLLOW)
OPENAT(openat_directory, O_RDONLY | O_DIRECTORY)
OPENAT(openat_directory_nofollow, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
OPENAT(openat_write_directory, O_WRONLY | O_DIRECTORY)
OPENAT(openat_path, O_PATH)
OPENAT(openat_path_nofollow, O_PATH | O_NOFOLLOW)
OPENAT(openat_path_write, O_PATH | O_WRONLY | O_CREAT | O_TRUNC)
OPENAT(openat_temporary, O_TMPFILE | O_RDWR)
OPENAT(openat_temporary_exclusive, O_TMPFILE | O_WRONLY | O_EXCL)
OPENAT(openat_temporary_read, O_TMPFILE | O_RDONLY)
OPENAT(openat_noatime, O_RDONLY | O_NOATIME)
OPENAT(openat_unknown, O_RDONLY | 0x40000000)

static long make_creat(int dir, const char *path)
{
    struct stat s;
    (void)dir;
    if (!raw(SYS_stat, path, &s, 0, 0) && S_ISFIFO(s.st_mode))
        return -ENXIO; /* It would wait for a reader. */
    return judge(raw(SYS_creat, path, 07777, 0, 0));
}

static const struct call open_calls[] = {
    {"open-read", KEEP, open_read},
    {"open-write", 0, open_write},
    {"open-truncate", 0, open_truncate},
    {"open-create", 0, open_create},
    {"open-exclusive", 0, open_exclusive},
    {"openat-read", KEEP | AT_CALL | MAIN, openat_read},
    {"openat-write", AT_CALL | MAIN, openat_write},
    {"openat-append", AT_CALL, openat_append},
    {"openat-both", AT_CALL, openat_both},
    {"openat-three", AT_CALL, openat_three},
    {"openat-read-truncate", AT_CALL, openat_read_truncate},
    {"openat-create", AT_CALL | MAIN, openat_create},
    {"openat-exclusive", AT_CALL | MAIN, openat_exclusive},
    {"openat-create-nofollow", AT_CALL, openat_create_nofollow},
    {"openat-create-read", AT_CALL, openat_create_read},
    {"openat-create-directory", AT_CALL, openat_create_directory},
    {"openat-nofollow", KEEP | AT_CALL, openat_nofollow},
    {"openat-write-nofollow", AT_CALL, openat_write_nofollow},
    {"openat-directory", KEEP | AT_CALL, openat_directory},
    {"openat-directory-nofollow", KEEP | AT_CALL, openat_directory_nofollow},
    {"openat-write-directory", AT_CALL, openat_write_directory},
    {"openat-path", KEEP | AT_CALL, openat_path},
    {"openat-path-nofollow", KEEP | AT_CALL, openat_path_nofollow},
    {"openat-path-write", KEEP | AT_CALL, openat_path_write},
    {"openat-temporary", AT_CALL, openat_temporary},
    {"openat-temporary-exclusive", AT_CALL, openat_temporary_exclusive},
    {"openat-temporary-read", AT_CALL, openat_temporary_read},
    {"openat-noatime", AT_CALL, openat_noatime},
    {"openat-unknown", KEEP | AT_CALL, openat_unknown},
    {"creat", 0, make_creat},
};

#define OPENAT2(name, open_flags, open_mode, resolution)                                           \
    static long name(int dir, const char *path)                                                    \
    {                                                                                              \
        struct open_how how = {(open_flags) | O_NONBLOCK, open_mode, resolution};                  \
        return judge(raw(SYS_openat2, dir, path, &how, sizeof how));                               \
    }

OPENAT2(openat2_plain, O_RDONLY, 0, 0)
OPENAT2(openat2_create, O_WRONLY | O_CREAT, 0604, 0)
OPENAT2(openat2_mode, O_RDONLY, 0600, 0)
OPENAT2(openat2_big_mode, O_WRONLY | O_CREAT, 010600, 0)
OPENAT2(openat2_unknown, O_RDONLY | 1ull << 40, 0, 0)
OPENAT2(openat2_unknown_resolve, O_RDONLY, 0, 0x1000)
OPENAT2(openat2_beneath, O_RDONLY, 0, RESOLVE_BENEATH)
OPENAT2(openat2_in_root, O_RDONLY, 0, RESOLVE_IN_ROOT)
OPENAT2(openat2_in_root_create, O_RDWR | O_CREAT, 0600, RESOLVE_IN_ROOT)
OPENAT2(openat2_both, O_RDONLY, 0, RESOLVE_IN_ROOT | RESOLVE_BENEATH)
OPENAT2(openat2_no_links, O_RDONLY, 0, RESOLVE_NO_SYMLINKS)
OPENAT2(openat2_no_magic, O_RDONLY, 0, RESOLVE_NO_MAGICLINKS)
OPENAT2(openat2_no_xdev, O_RDONLY, 0, RESOLVE_NO_XDEV)
OPENAT2(openat2_path, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS)

static const struct call openat2_calls[] = {
    {"openat2", KEEP | AT_CALL | MAIN, openat2_plain},
    {"openat2-create", AT_CALL, openat2_create},
    {"openat2-mode", KEEP | AT_CALL, openat2_mode},
    {"openat2-big-mode", AT_CALL, openat2_big_mode},
    {"openat2-unknown", KEEP | AT_CALL, openat2_unknown},
    {"openat2-unknown-resolve", KEEP | AT_CALL, openat2_unknown_resolve},
    {"openat2-beneath", KEEP | AT_CALL, openat2_beneath},
    {"openat2-in-root", KEEP | AT_CALL, openat2_in_root},
    {"openat2-in-root-create", AT_CALL | MAIN, openat2_in_root_create},
    {"openat2-both", KEEP | AT_CALL, openat2_both},
    {"openat2-no-links", KEEP | AT_CALL, openat2_no_links},
    {"openat2-no-magic", KEEP | AT_CALL, openat2_no_magic},
    {"openat2-no-xdev", KEEP | AT_CALL, openat2_no_xdev},
    {"openat2-path", KEEP | AT_CALL, openat2_path},
};

static void opens(void)
{
    for_each(open_calls, sizeof open_calls / sizeof *open_calls);
}

static void openat2s(void)
{
    static struct {
        struct open_how how;
        char more[PAGE + 64];
    } big;
    static const int sizes[] = {0, 8, 23, 24, 25, 64, PAGE, PAGE + 1};
    for_each(openat2_calls, sizeof openat2_calls / sizeof *openat2_calls);
    make_state();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        big.more[0] = 0;
        say("openat2 size %d: %s", sizes[i],
            number(raw(SYS_openat2, AT, "f", &big, sizes[i])));
        big.more[0] = 1;
        say(" then %s\n", number(raw(SYS_openat2, AT, "f", &big, sizes[i])));
    }
    say("openat2 how: %s %s %s\n", error_name(raw(SYS_openat2, AT, "f", NULL, 24)),
        error_name(raw(SYS_openat2, AT, NULL, UNMAPPED, 24)),
        error_name(raw(SYS_openat2, AT, "none", EDGE - 8, 24)));
    drop_state();
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    return in_place(argv[2], argv, !strcmp(argv[1], "open") ? opens : openat2s);
}
