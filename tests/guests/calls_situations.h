/* The situations in which each call is made: a descriptor and a path, by name.
 *
 * `for_each` makes all calls of a table in all situations. A call that succeeded may have changed the
 * state directory; what changed is printed and repaired. */
#ifndef CALLS_SITUATIONS_H
#define CALLS_SITUATIONS_H
#include "calls_places.h"

/* KEEP: the call changes nothing. AT_CALL: it takes a descriptor. MAIN: it is made everywhere. */
enum { KEEP = 1, AT_CALL = 2, MAIN = 4 };

struct call {
    const char *name;
    int traits;
    long (*make)(int dir, const char *path);
};

/* LOOK: only for calls that change nothing, as the path leads elsewhere. OTHERS: to root's files. */
enum { LOOK = 1, OTHERS = 2 };

struct situation {
    const char *name;
    int traits;
    int dir;
    const char *path;
};

static const struct situation plain_situations[] = {
    {"file", 0, AT, "f"},
    {"twin", 0, AT, "twin"},
    {"directory", 0, AT, "e"},
    {"full-directory", 0, AT, "full"},
    {"inside", 0, AT, "full/x"},
    {"fifo", 0, AT, "fifo"},
    {"link-to-file", 0, AT, "lf"},
    {"link-to-directory", 0, AT, "ld"},
    {"through-link", 0, AT, "ld/x"},
    {"link-to-nothing", 0, AT, "lnone"},
    {"link-to-slash", 0, AT, "lslash"},
    {"link-up", 0, AT, "lup"},
    {"link-down-and-up", 0, AT, "lback"},
    {"loop", 0, AT, "loop"},
    {"through-loop", 0, AT, "loop/x"},
    {"chain-40", LOOK, AT, "../chain/40"},
    {"chain-41", LOOK, AT, "../chain/41"},
    {"missing", 0, AT, "none"},
    {"below-missing", 0, AT, "none/x"},
    {"below-file", 0, AT, "f/x"},
    {"below-file-up", 0, AT, "f/../f"},
    {"below-link-to-file", 0, AT, "lf/x"},
    {"below-link-to-nothing", 0, AT, "lnone/x"},
    {"up-from-missing", 0, AT, "none/../f"},
    {"up-from-link", 0, AT, "ld/../f"},
    {"file-slash", 0, AT, "f/"},
    {"file-dot", 0, AT, "f/."},
    {"directory-slash", 0, AT, "e/"},
    {"directory-slashes", 0, AT, "e///"},
    {"directory-dot", 0, AT, "e/."},
    {"directory-dotdot", LOOK, AT, "e/.."},
    {"link-to-file-slash", 0, AT, "lf/"},
    {"link-to-directory-slash", 0, AT, "ld/"},
    {"link-to-directory-dot", 0, AT, "ld/."},
    {"link-to-nothing-slash", 0, AT, "lnone/"},
    {"loop-slash", 0, AT, "loop/"},
    {"missing-slash", 0, AT, "none/"},
    {"missing-slashes", 0, AT, "none//"},
    {"missing-dot", 0, AT, "none/."},
    {"slashes", 0, AT, ".//full///x"},
    {"dot", 0, AT, "."},
    {"dotdot", LOOK, AT, ".."},
    {"top", LOOK, AT, "/"},
    {"above-top", LOOK, AT, "/../../.."},
    {"empty", 0, AT, ""},
    {"null", 0, AT, NULL},
    {"unmapped", 0, AT, UNMAPPED},
    {"kernel-pointer", 0, AT, (char *)0xffffffff80000000},
    {"closed", OTHERS, AT, "../closed"},
    {"in-closed", OTHERS, AT, "../closed/x"},
    {"in-closed-missing", OTHERS, AT, "../closed/none"},
    {"in-listed", OTHERS, AT, "../listed/x"},
    {"in-listed-missing", OTHERS, AT, "../listed/none"},
    {"in-hidden", OTHERS, AT, "../hidden/x"},
    {"in-hidden-missing", OTHERS, AT, "../hidden/none"},
    {"in-sticky", OTHERS, AT, "../sticky/x"},
    {"of-group", OTHERS, AT, "../hidden/group"},
};

static const struct situation magic_situations[] = {
    {"self", LOOK, AT, "/proc/self"},
    {"thread-self", LOOK, AT, "/proc/thread-self"},
    {"self-slash", LOOK, AT, "/proc/self/"},
    {"proc-missing", LOOK, AT, "/proc/self/none"},
    {"fd-directory", 0, AT, "/proc/self/fd/10"},
    {"fd-directory-slash", 0, AT, "/proc/self/fd/10/"},
    {"fd-directory-inside", 0, AT, "/proc/self/fd/10/x"},
    {"fd-directory-up", LOOK, AT, "/proc/self/fd/10/.."},
    {"fd-file", 0, AT, "/proc/self/fd/11"},
    {"fd-file-slash", 0, AT, "/proc/self/fd/11/"},
    {"fd-file-inside", 0, AT, "/proc/self/fd/11/x"},
    {"fd-pathdir-inside", 0, AT, "/proc/self/fd/12/x"},
    {"fd-path", 0, AT, "/proc/self/fd/13"},
    {"fd-of-link", 0, AT, "/proc/self/fd/14"},
    {"fd-gone-directory", 0, AT, "/proc/self/fd/15"},
    {"fd-gone-directory-inside", 0, AT, "/proc/self/fd/15/x"},
    {"fd-gone-directory-up", LOOK, AT, "/proc/self/fd/15/.."},
    {"fd-gone", 0, AT, "/proc/self/fd/16"},
    {"fd-write", 0, AT, "/proc/self/fd/17"},
    {"fd-pipe", LOOK, AT, "/proc/self/fd/18"},
    {"fd-socket", LOOK, AT, "/proc/self/fd/19"},
    {"fd-anonymous", LOOK, AT, "/proc/self/fd/20"},
    {"fd-missing", 0, AT, "/proc/self/fd/999"},
    {"thread-fd", 0, AT, "/proc/thread-self/fd/11"},
    {"dev-fd", 0, AT, "/dev/fd/11"},
    {"link-to-stdin", LOOK, AT, "lstdin"},
    {"fdinfo", LOOK, AT, "/proc/self/fdinfo/11"},
    {"link-to-fd", 0, AT, "lfd"},
    {"link-to-cwd", 0, AT, "lcwd"},
    {"cwd", LOOK, AT, "/proc/self/cwd"},
    {"cwd-inside", 0, AT, "/proc/self/cwd/f"},
    {"cwd-up", LOOK, AT, "/proc/self/cwd/../s/f"},
    {"root", LOOK, AT, "/proc/self/root"},
    {"root-inside", LOOK, AT, "/proc/self/root/proc"},
    {"exe", LOOK, AT, "/proc/self/exe"},
    {"of-nobody", LOOK, AT, "/proc/99999/cwd"},
};

static const struct situation at_situations[] = {
    {"at-directory", 0, FD_DIR, "x"},
    {"at-directory-up", 0, FD_DIR, "../f"},
    {"at-directory-missing", 0, FD_DIR, "none"},
    {"at-directory-empty", 0, FD_DIR, ""},
    {"at-directory-null", 0, FD_DIR, NULL},
    {"at-directory-dot", 0, FD_DIR, "."},
    {"at-file", 0, FD_FILE, "x"},
    {"at-file-empty", 0, FD_FILE, ""},
    {"at-file-null", 0, FD_FILE, NULL},
    {"at-file-unmapped", 0, FD_FILE, UNMAPPED},
    {"at-file-absolute", LOOK, FD_FILE, "/"},
    {"at-pathdir", 0, FD_PATHDIR, "x"},
    {"at-pathdir-empty", 0, FD_PATHDIR, ""},
    {"at-path-empty", 0, FD_PATH, ""},
    {"at-path", 0, FD_PATH, "x"},
    {"at-link-empty", 0, FD_LINK, ""},
    {"at-link", 0, FD_LINK, "x"},
    {"at-gone-directory", 0, FD_GONEDIR, "x"},
    {"at-gone-directory-dot", 0, FD_GONEDIR, "."},
    {"at-gone-directory-up", LOOK, FD_GONEDIR, ".."},
    {"at-gone-directory-empty", 0, FD_GONEDIR, ""},
    {"at-gone-empty", 0, FD_GONE, ""},
    {"at-write-empty", 0, FD_WRITE, ""},
    {"at-pipe-empty", LOOK, FD_PIPE, ""},
    {"at-socket-empty", LOOK, FD_SOCKET, ""},
    {"at-anonymous-empty", LOOK, FD_ANON, ""},
    {"at-closed-number", 0, 999, "x"},
    {"at-closed-number-empty", 0, 999, ""},
    {"at-closed-number-null", 0, 999, NULL},
    {"at-closed-number-absolute", LOOK, 999, "/"},
    {"at-minus-one", 0, -1, "f"},
    {"at-minus-one-empty", 0, -1, ""},
    {"at-minus-one-absolute", LOOK, -1, "/"},
    {"at-lowest", 0, -2147483647 - 1, "f"},
};

#define KNOWN (ENTRIES + 4)

/* Entry `i` as text, without what nsbuild answers itself; after the entries "." and descriptors. */
static inline void describe(size_t i, char *line, size_t size)
{
    static const int more[] = {AT, FD_GONEDIR, FD_GONE, FD_ANON};
    char target[64] = "";
    struct stat s;
    int own = i < ENTRIES, fd = own ? AT : more[i - ENTRIES];
    const char *name = own ? entries[i].name : "";
    long r = raw(SYS_newfstatat, fd, name, &s, own ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH);
    if (own && S_ISLNK(s.st_mode))
        raw(SYS_readlink, name, target, sizeof target - 1, 0);
    long set = own ? raw(SYS_lgetxattr, name, "user.a", NULL, 0)
                   : raw(SYS_fgetxattr, fd, "user.a", NULL, 0);
    snprintf(line, size, "%s %d %s %s%s", own ? name : "number", fd,
             r ? error_name(r) : stat_fields(&s), target, set >= 0 ? " attribute" : "");
}

/* Puts right what is not as it was: `changed` tells which entries, other names are removed. */
static inline void repair(const char changed[KNOWN])
{
    static char buffer[8192];
    int changed_fd = changed[0] | changed[4];
    int fd = raw(SYS_open, ".", O_RDONLY | O_DIRECTORY, 0, 0);
    long n;
    raw(SYS_fchmod, fd, 0755, 0, 0);
    raw(SYS_fchown, fd, getuid(), getgid(), 0);
    raw(SYS_fremovexattr, fd, "user.a", 0, 0);
    while ((n = raw(SYS_getdents64, fd, buffer, sizeof buffer, 0)) > 0)
        for (char *at = buffer; at < buffer + n; at += *(unsigned short *)(at + 16)) {
            const char *name = at + 19;
            size_t i = 0;
            while (i < ENTRIES && strcmp(entries[i].name, name))
                i++;
            if (strcmp(name, ".") && strcmp(name, "..") && (i == ENTRIES || changed[i]))
                wipe(AT, name);
        }
    close(fd);
    for (size_t i = 0; i < ENTRIES; i++)
        if (changed[i])
            make_entry(&entries[i]);
    for (size_t i = ENTRIES + 1; i < KNOWN; i++)
        changed_fd |= changed[i];
    if (changed_fd)
        open_state();
}

/* Says what changed, and repairs it. */
static inline void say_changes(const char *call, const char *situation)
{
    static char before[KNOWN][400], after[400];
    static int known;
    char changed[KNOWN] = "";
    struct stat s;
    for (size_t i = 0; i < KNOWN; i++) {
        describe(i, known ? after : before[i], sizeof after);
        if (!known || !strcmp(before[i], after))
            continue;
        changed[i] = 1;
        say("%s %s: now %s\n", call, situation, after);
    }
    if (known && !raw(SYS_newfstatat, AT, "new", &s, AT_SYMLINK_NOFOLLOW))
        say("%s %s: new %s\n", call, situation, stat_fields(&s));
    if (known && !raw(SYS_newfstatat, AT, "none", &s, AT_SYMLINK_NOFOLLOW))
        say("%s %s: none %s\n", call, situation, stat_fields(&s));
    for (size_t i = 0; i < ENTRIES; i++) {
        const char *name = entries[i].name;
        changed[i] |= (!strncmp(name, "twin", 4) && (changed[1] | changed[2])) ||
                      (!strncmp(name, "full", 4) && (changed[4] | changed[5]));
    }
    if (known)
        repair(changed);
    known = 1;
}

/* What a call adds to its line; set by the call, printed and cleared here. */
static char extra[512];

static inline long try_one(const struct call *c, const char *name, int dir, const char *path)
{
    *extra = 0;
    long r = c->make(dir, path);
    /* A walk that the kernel begins anew counts on: what has 40 links may seem to have more. */
    for (int i = 0; i < 9 && r == -ELOOP && !strcmp(name, "chain-40"); i++)
        r = c->make(dir, path);
    say("%s %s: %s%s\n", c->name, name, number(r), extra);
    if (r < 0 || c->traits & KEEP)
        return r;
    say_changes(c->name, name);
    return r;
}

/* Paths of a certain length, and paths at the end of what is mapped. */
static inline void try_lengths(const struct call *c)
{
    static char path[8192];
    static const int lengths[] = {255, 256, 4094, 4095, 4096, 4097, 8000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char name[32];
        memset(path, 'n', sizeof path);
        path[lengths[i]] = 0;
        snprintf(name, sizeof name, "component-%d", lengths[i]);
        try_one(c, name, AT, path);
        memset(path, '/', sizeof path);
        for (int k = 0; k < lengths[i] - 1; k += 2)
            path[k] = '.';
        strcpy(path + lengths[i] - 1, "f");
        snprintf(name, sizeof name, "path-%d", lengths[i]);
        try_one(c, name, AT, path);
    }
    strcpy(EDGE - 2, "f");
    try_one(c, "ends-at-edge", AT, EDGE - 2);
    EDGE[-1] = 'f';
    try_one(c, "runs-over-edge", AT, EDGE - 1);
    memset(page, '/', PAGE);
    memcpy(page, "none", 4);
    try_one(c, "page-without-end", AT, page);
    try_one(c, "constant", AT, constant);
}

static inline void try_table(const struct call *c, const struct situation *s, size_t count)
{
    for (; count--; s++) {
        if (s->traits & LOOK && !(c->traits & KEEP))
            continue;
        long r = try_one(c, s->name, s->dir, s->path);
        if (r >= 0 && !(c->traits & KEEP) && s->traits & OTHERS && !no_root) {
            must(raw(SYS_chdir, "..", 0, 0, 0), "..");
            drop_others();
            make_others();
            must(raw(SYS_chdir, STATE, 0, 0, 0), STATE);
        }
    }
}
#define TRY(call, table) try_table(call, table, sizeof table / sizeof *table)

static inline void for_each(const struct call *c, size_t count)
{
    make_state();
    say_changes("", "");
    for (; count--; c++) {
        if (few && !(c->traits & MAIN))
            continue;
        TRY(c, plain_situations);
        TRY(c, magic_situations);
        try_lengths(c);
        if (c->traits & AT_CALL)
            TRY(c, at_situations);
    }
    drop_state();
}
#endif
