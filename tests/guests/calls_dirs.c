/* calls_dirs GROUP [DIRECTORY]: reads directories by getdents64 and by the older getdents.
 *
 * GROUP: errors, buffers, positions, changes, numbers, order, many (with the DIRECTORY to read).
 * The order of names is the file system's, so lines name what does not depend on it. */
#include "calls_places.h"

#include <dirent.h>

struct found {
    unsigned long ino;
    long next;
    int type, size;
    char name[256];
};

/* Reads one buffer as `nr` gives it; returns the bytes, or -errno. */
static long get(int nr, int fd, void *buffer, size_t size)
{
    return raw(nr, fd, buffer, size, 0);
}

static int unpack(int nr, const char *buffer, long size, struct found *entries)
{
    int count = 0;
    for (const char *at = buffer; at < buffer + size; count++) {
        struct found *e = &entries[count];
        memcpy(&e->ino, at, 8);
        memcpy(&e->next, at + 8, 8);
        e->size = *(const unsigned short *)(at + 16);
        e->type = nr == SYS_getdents64 ? at[18] : at[e->size - 1];
        strcpy(e->name, at + (nr == SYS_getdents64 ? 19 : 18));
        at += e->size;
    }
    return count;
}

#define MANY 512
/* The whole directory, `size` bytes at a time. */
static int read_all(int nr, int fd, struct found *entries, size_t size)
{
    static char buffer[65536];
    int count = 0;
    long n;
    while ((n = get(nr, fd, buffer, size)) > 0)
        count += unpack(nr, buffer, n, entries + count);
    if (n < 0)
        say("  read_all: %s\n", error_name(n));
    return count;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->name, ((const struct found *)b)->name);
}

static void say_sorted(const char *what, struct found *entries, int count)
{
    qsort(entries, count, sizeof *entries, by_name);
    say("%s:", what);
    for (int i = 0; i < count; i++)
        say(" %s/%d/%d", entries[i].name, entries[i].type, entries[i].size);
    say("\n");
}

static struct found all[MANY], more[MANY];
static const int calls[] = {SYS_getdents64, SYS_getdents};
static const char *const call_names[] = {"getdents64", "getdents"};
#define EACH_CALL for (int c = 0; c < 2; c++)

static int open_dir(const char *name)
{
    int fd = raw(SYS_open, name, O_RDONLY | O_DIRECTORY, 0, 0);
    must(fd, name);
    return fd;
}

/* `count` files of three letters each in a new directory. */
static void make_dir(const char *name, int count)
{
    char path[64];
    must(raw(SYS_mkdir, name, 0755, 0, 0), name);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%03d", name, i * 7 % count);
        must(raw(SYS_mknod, path, S_IFREG | 0600, 0, 0), path);
    }
}

static void errors(void)
{
    char buffer[1024];
    make_dir("d", 3);
    make_dir("gone-dir", 0);
    int gone = open_dir("gone-dir"), file, path, shut;
    file = raw(SYS_open, "chain/0", O_RDONLY, 0, 0);
    path = raw(SYS_open, "d", O_PATH, 0, 0);
    shut = open_dir("d");
    raw(SYS_rmdir, "gone-dir", 0, 0, 0);
    raw(SYS_chmod, "d", 0, 0, 0);
    const int fds[] = {gone, file, path, shut, -1, 999, FD_PIPE, FD_SOCKET, FD_ANON, AT};
    EACH_CALL for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        say("%s fd %zu: %s", call_names[c], i, number(get(calls[c], fds[i], buffer, 1024)));
        say(" nothing %s null %s of no bytes %s", number(get(calls[c], fds[i], buffer, 0)),
            number(get(calls[c], fds[i], NULL, 1024)), number(get(calls[c], fds[i], NULL, 0)));
        raw(SYS_lseek, fds[i], 0, SEEK_SET, 0);
        say(" null again %s small %s", number(get(calls[c], fds[i], NULL, 1024)),
            number(get(calls[c], fds[i], buffer, 16)));
        say(" unmapped small %s\n", number(get(calls[c], fds[i], UNMAPPED, 16)));
        raw(SYS_lseek, fds[i], 0, SEEK_SET, 0);
    }
    int fd = open_dir(".");
    say("read %s write %s pread %s truncate %s\n", number(raw(SYS_read, fd, buffer, 10, 0)),
        number(raw(SYS_write, fd, buffer, 10, 0)), number(raw(SYS_pread64, fd, buffer, 10, 0)),
        number(raw(SYS_ftruncate, fd, 0, 0, 0)));
}

static void buffers(void)
{
    static char buffer[4096];
    make_dir("d", 9);
    char longest[300] = "l/";
    must(raw(SYS_mkdir, "l", 0755, 0, 0), "l");
    memset(longest + 2, 'x', 255);
    put(longest, "", 0600);
    EACH_CALL {
        for (int size = 0; size < 300; size += size < 80 ? 1 : 9) {
            int fd = open_dir("d");
            long n = get(calls[c], fd, buffer, size), later = get(calls[c], fd, buffer, size);
            say("%s buffer %d: %s then %s\n", call_names[c], size, number(n), number(later));
            close(fd);
        }
        for (int size = 264; size < 300; size += 4) {
            int fd = open_dir("l"), count = 0;
            long n;
            while ((n = get(calls[c], fd, buffer, size)) > 0)
                count += unpack(calls[c], buffer, n, all + count);
            if (n < 0) /* What came before it is a matter of order. */
                count = 0;
            say("%s long name in %d: %d entries, last %s\n", call_names[c], size, count, number(n));
            close(fd);
        }
        static const int sizes[] = {24, 48, 100, 240, 4096, 65536};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int fd = open_dir("d");
            say("%s by %d ", call_names[c], sizes[i]);
            say_sorted("has", all, read_all(calls[c], fd, all, sizes[i]));
            close(fd);
        }
        char *const places[] = {EDGE, EDGE - 24, EDGE - 30, EDGE - 48, EDGE - 10, constant, NULL};
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            int fd = open_dir("d");
            say("%s place %zu: %s", call_names[c], i, number(get(calls[c], fd, places[i], 1000)));
            say(" then %d left\n", read_all(calls[c], fd, all, 1000));
            close(fd);
        }
        int fd = open_dir("d");
        memset(buffer, 0xa5, sizeof buffer);
        long n = get(calls[c], fd, buffer + 1, 1000);
        say("%s untouched behind: %d\n", call_names[c], (unsigned char)buffer[1 + n] == 0xa5);
        close(fd);
    }
}

static void positions(void)
{
    make_dir("d", 40);
    EACH_CALL {
        const char *name = call_names[c];
        char buffer[100];
        int fd = open_dir("d"), count = read_all(calls[c], fd, all, 100), same = 0;
        say("%s entries %d\n", name, count);
        for (int i = 0; i < count; i++) {
            long r = raw(SYS_lseek, fd, all[i].next, SEEK_SET, 0);
            long n = get(calls[c], fd, buffer, 24);
            same += r == all[i].next && (n <= 0 ? i == count - 1
                     : (unpack(calls[c], buffer, n, more), !strcmp(more->name, all[i + 1].name)));
        }
        say("%s seeks that lead to the next entry: %d\n", name, same);
        raw(SYS_lseek, fd, 0, SEEK_SET, 0);
        say("%s start again: %d\n", name, read_all(calls[c], fd, more, 50) == count
                                             && !strcmp(more[7].name, all[7].name));
        raw(SYS_lseek, fd, all[4].next, SEEK_SET, 0);
        long here = raw(SYS_lseek, fd, 0, SEEK_CUR, 0);
        say("%s told position is where it went: %d\n", name, here == all[4].next);
        get(calls[c], fd, buffer, 48);
        here = raw(SYS_lseek, fd, 0, SEEK_CUR, 0);
        say("%s told position is after two more: %d\n", name, here == all[6].next);
        say("%s negative: %s whence: %s\n", name, number(raw(SYS_lseek, fd, -1, SEEK_SET, 0)),
            number(raw(SYS_lseek, fd, 0, 99, 0)));
        say("%s after failed seeks: %d left\n", name, read_all(calls[c], fd, more, 100));
        say("%s at the end: %s and %s\n", name, number(get(calls[c], fd, buffer, 100)),
            number(get(calls[c], fd, buffer, 100)));
        raw(SYS_lseek, fd, 0, SEEK_SET, 0);
        get(calls[c], fd, buffer, 48);
        int twin = raw(SYS_dup, fd, 0, 0, 0), other = open_dir("/proc/self/fd/3");
        get(calls[c], twin, buffer, 72);
        say("%s dup shares the position: %d left\n", name, read_all(calls[c], fd, more, 100));
        say("%s dup at the end too: %s\n", name, number(get(calls[c], twin, buffer, 100)));
        say("%s opened again does not: %d\n", name, read_all(calls[c], other, more, 100));
        raw(SYS_lseek, fd, 0, SEEK_SET, 0);
        get(calls[c], fd, buffer, 48);
        int pid = fork();
        if (!pid)
            _exit(get(calls[c], fd, buffer, 72));
        int status;
        waitpid(pid, &status, 0);
        say("%s child read %d, left %d\n", name, WEXITSTATUS(status),
            read_all(calls[c], fd, more, 100));
        raw(SYS_lseek, fd, 0, SEEK_SET, 0);
        get(calls[c], fd, buffer, 48);
        raw(SYS_dup2, open_dir("chain"), fd, 0, 0);
        say("%s another directory at the same number: %d\n", name,
            read_all(calls[c], fd, more, 1000));
        close(fd);
        fd = open_dir("d");
        say("%s and the first again: %d\n", name, read_all(calls[c], fd, more, 1000));
        raw(SYS_close_range, 3, 9, 0, 0);
    }
    DIR *d = opendir("d");
    char first[8][16];
    for (int i = 0; i < 8; i++)
        strcpy(first[i], readdir(d)->d_name);
    rewinddir(d);
    for (int i = 0; i < 3; i++)
        readdir(d);
    long here = telldir(d);
    for (int i = 3; i < 6; i++)
        readdir(d);
    seekdir(d, here);
    say("telldir and seekdir: %d\n", !strcmp(readdir(d)->d_name, first[3]));
    closedir(d);
}

/* What is added or removed meanwhile may be seen or not; all else exactly once. */
static void one_change(int c, const char *what, int adds, int removes, size_t size)
{
    char buffer[4096], path[64];
    int fd, count, steady = 0, twice = 0;
    wipe(AT, "w");
    make_dir("w", 60);
    fd = open_dir("w");
    count = unpack(calls[c], buffer, get(calls[c], fd, buffer, size), all);
    for (int i = 0; i < adds; i++) {
        snprintf(path, sizeof path, "w/a%02d", i);
        put(path, "", 0600);
    }
    for (int i = 0; i < removes; i++) {
        snprintf(path, sizeof path, "w/%03d", 20 + i);
        raw(SYS_unlink, path, 0, 0, 0);
    }
    count += read_all(calls[c], fd, all + count, size);
    qsort(all, count, sizeof *all, by_name);
    for (int i = 0; i < count; i++) {
        int n = atoi(all[i].name);
        steady += *all[i].name == '.' || (*all[i].name != 'a' && (n < 20 || n >= 20 + removes));
        twice += i && !strcmp(all[i].name, all[i - 1].name);
    }
    say("%s %s by %zu: %d steady, %d twice", call_names[c], what, size, steady, twice);
    raw(SYS_lseek, fd, 0, SEEK_SET, 0);
    say(", from the start %d\n", read_all(calls[c], fd, all, 1000));
    close(fd);
}

static void changes(void)
{
    char buffer[100], path[300];
    EACH_CALL {
        one_change(c, "adding", 30, 0, 120);
        one_change(c, "removing", 0, 30, 120);
        one_change(c, "both", 30, 30, 480);
        make_dir("rm", 100);
        int fd = open_dir("rm"), removed = 0;
        long n;
        while ((n = get(calls[c], fd, buffer, sizeof buffer)) > 0) {
            int count = unpack(calls[c], buffer, n, all);
            for (int i = 0; i < count; i++) {
                snprintf(path, sizeof path, "rm/%s", all[i].name);
                removed += !raw(SYS_unlink, path, 0, 0, 0);
            }
        }
        say("%s removed while reading: %d, rmdir %s", call_names[c], removed,
            number(raw(SYS_rmdir, "rm", 0, 0, 0)));
        say(", then %s", number(get(calls[c], fd, buffer, sizeof buffer)));
        raw(SYS_lseek, fd, 0, SEEK_SET, 0);
        say(" and %s\n", number(get(calls[c], fd, buffer, sizeof buffer)));
        close(fd);
        make_dir("half", 10);
        fd = open_dir("half");
        get(calls[c], fd, buffer, 72);
        wipe(AT, "half");
        say("%s of one that went away in the middle: %s\n", call_names[c],
            number(get(calls[c], fd, buffer, sizeof buffer)));
        make_dir("half", 10);
        say("%s though another has its name: %s", call_names[c],
            number(get(calls[c], fd, buffer, sizeof buffer)));
        int again = open_dir("half");
        say(", which has %d\n", read_all(calls[c], again, all, 100));
        wipe(AT, "half");
        close(again);
        close(fd);
        make_dir("moved", 10);
        fd = open_dir("moved");
        get(calls[c], fd, buffer, 72);
        must(raw(SYS_rename, "moved", "moved2", 0, 0), "rename");
        say("%s of one that was renamed: %d left\n", call_names[c],
            read_all(calls[c], fd, all, 100));
        wipe(AT, "moved2");
        close(fd);
    }
}

/* d_ino is st_ino and d_type is st_mode's, "." and ".." are there, names are given once. */
static void numbers(void)
{
    make_dir("d", 5);
    must(raw(SYS_mknod, "d/p", S_IFIFO | 0600, 0, 0), "d/p");
    must(raw(SYS_mkdir, "d/e", 0755, 0, 0), "d/e");
    must(raw(SYS_symlink, "000", "d/s", 0, 0), "d/s");
    must(raw(SYS_link, "d/001", "d/twin", 0, 0), "d/twin");
    static const char *const names[] = {"d", ".", "d/e", "chain"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        EACH_CALL {
            int fd = open_dir(names[i]), count = read_all(calls[c], fd, all, 4096), same = 0;
            for (int k = 0; k < count; k++) {
                struct stat s = {.st_ino = 0};
                raw(SYS_newfstatat, fd, all[k].name, &s, AT_SYMLINK_NOFOLLOW);
                same += s.st_ino == all[k].ino && all[k].type == (int)(s.st_mode >> 12);
            }
            say("%s of %s: %d of %d as stat says, ", call_names[c], names[i], same, count);
            say_sorted("which are", all, count);
            close(fd);
        }
    int fd = open_dir("d");
    EACH_CALL {
        raw(SYS_lseek, fd, 0, SEEK_SET, 0);
        int count = read_all(calls[c], fd, c ? more : all, 4096);
        qsort(c ? more : all, count, sizeof *all, by_name);
        for (int k = 0; c && k < count; k++)
            say("%s: same number by both %d\n", more[k].name, more[k].ino == all[k].ino);
    }
}

/* Whether what follows "." and ".." is in the order of bytes; by small and large buffers. */
static void order(void)
{
    static const size_t sizes[] = {300, 4096, 32768};
    must(raw(SYS_mkdir, "o", 0755, 0, 0), "o");
    for (int i = 0; i < 200; i++) {
        char path[64];
        snprintf(path, sizeof path, "o/%c%x%s", "aZ\xc3.-~_0"[i % 8], i * 37, i % 3 ? "" : "long");
        put(path, "", 0600);
    }
    for (size_t i = 0; i < 3; i++)
        EACH_CALL {
            int fd = open_dir("o"), count = read_all(calls[c], fd, all, sizes[i]), ordered = 1;
            for (int k = 1; k < count; k++)
                ordered &= k < 3 || strcmp(all[k - 1].name, all[k].name) < 0;
            say("%s by %zu: %d entries, in order %d\n", call_names[c], sizes[i], count, ordered);
            close(fd);
        }
}

static void many(const char *name)
{
    static const size_t sizes[] = {32768, 1000};
    static char buffer[32768];
    for (size_t i = 0; i < 2; i++) {
        uint64_t sum = 0;
        int fd = open_dir(name);
        long n, count = 0;
        while ((n = get(SYS_getdents64, fd, buffer, sizes[i])) > 0)
            for (char *at = buffer; at < buffer + n; at += *(unsigned short *)(at + 16), count++)
                sum += fnv(FNV_START, at + 19, strlen(at + 19));
        say("by %zu: %ld entries %llx\n", sizes[i], count, (unsigned long long)sum);
        close(fd);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} groups[] = {
    {"errors", errors},   {"buffers", buffers}, {"positions", positions},
    {"changes", changes}, {"numbers", numbers}, {"order", order},
};

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "many"))
        many(argv[2]);
    for (size_t i = 0; argc == 3 && i < sizeof groups / sizeof *groups; i++)
        if (!strcmp(argv[1], groups[i].name))
            return in_place(argv[2], argv, groups[i].run);
    return 0;
}
