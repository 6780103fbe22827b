/* calls_names GROUP PLACE: makes, moves and removes names, in every situation.
 *
 * GROUP: make, remove (one path), move (two paths: the situation's is the old or the new one). */
#include "calls_situations.h"

#define CALL(name, expression)                                                                     \
    static long name(int dir, const char *path)                                                    \
    {                                                                                              \
        (void)dir;                                                                                 \
        return expression;                                                                         \
    }
#define MOVE(from_dir, from, to_dir, to, flags)                                                    \
    raw6(SYS_renameat2, from_dir, (long)(from), to_dir, (long)(to), flags, 0)
#define LINK(from_dir, from, to_dir, to, flags)                                                    \
    raw6(SYS_linkat, from_dir, (long)(from), to_dir, (long)(to), flags, 0)
/* /dev/mem: one of those that nsbuild makes no more than the kernel does in a user namespace. */
#define BLACK makedev(1, 1)

CALL(do_mkdir, raw(SYS_mkdir, path, 0751, 0, 0))
CALL(do_mkdirat, raw(SYS_mkdirat, dir, path, 07777, 0))
CALL(do_mknod, raw(SYS_mknod, path, 0640, 0, 0))
CALL(do_mknod_fifo, raw(SYS_mknod, path, S_IFIFO | 0604, 0, 0))
CALL(do_mknodat_socket, raw(SYS_mknodat, dir, path, S_IFSOCK | 0600, 0))
CALL(do_mknodat_device, raw(SYS_mknodat, dir, path, S_IFCHR | 0600, BLACK))
CALL(do_mknodat_whiteout, raw(SYS_mknodat, dir, path, S_IFCHR | 0600, 0))
CALL(do_mknodat_directory, raw(SYS_mknodat, dir, path, S_IFDIR | 0700, 0))
CALL(do_mknodat_wrong, raw(SYS_mknodat, dir, path, S_IFMT | 0600, 0))
CALL(do_symlink, raw(SYS_symlink, "f", path, 0, 0))
CALL(do_symlink_empty, raw(SYS_symlink, "", path, 0, 0))
CALL(do_symlinkat, raw(SYS_symlinkat, "a/b/c", dir, path, 0))
CALL(do_symlinkat_null, raw(SYS_symlinkat, NULL, dir, path, 0))
CALL(do_symlink_to, raw(SYS_symlink, path, "new", 0, 0))
CALL(do_link_to, raw(SYS_link, "f", path, 0, 0))
CALL(do_link_from, raw(SYS_link, path, "new", 0, 0))
CALL(do_link_directory_to, raw(SYS_link, "e", path, 0, 0))
CALL(do_linkat_to, LINK(AT, "lf", dir, path, 0))
CALL(do_linkat_from, LINK(dir, path, AT, "new", AT_SYMLINK_FOLLOW))
CALL(do_linkat_from_empty, LINK(dir, path, AT, "new", AT_EMPTY_PATH))
CALL(do_linkat_invalid, LINK(dir, path, AT, "new", AT_SYMLINK_NOFOLLOW))

static const struct call make_calls[] = {
    {"mkdir", 0, do_mkdir},
    {"mkdirat", AT_CALL | MAIN, do_mkdirat},
    {"mknod", 0, do_mknod},
    {"mknod-fifo", 0, do_mknod_fifo},
    {"mknodat-socket", AT_CALL, do_mknodat_socket},
    {"mknodat-device", AT_CALL, do_mknodat_device},
    {"mknodat-whiteout", AT_CALL, do_mknodat_whiteout},
    {"mknodat-directory", AT_CALL, do_mknodat_directory},
    {"mknodat-wrong", AT_CALL, do_mknodat_wrong},
    {"symlink", MAIN, do_symlink},
    {"symlink-empty", 0, do_symlink_empty},
    {"symlinkat", AT_CALL, do_symlinkat},
    {"symlinkat-null", AT_CALL, do_symlinkat_null},
    {"symlink-target", 0, do_symlink_to},
    {"link-to", 0, do_link_to},
    {"link-from", MAIN, do_link_from},
    {"link-directory-to", 0, do_link_directory_to},
    {"linkat-to", AT_CALL | MAIN, do_linkat_to},
    {"linkat-from", AT_CALL, do_linkat_from},
    {"linkat-from-empty", AT_CALL, do_linkat_from_empty},
    {"linkat-invalid", AT_CALL, do_linkat_invalid},
};

CALL(do_rmdir, raw(SYS_rmdir, path, 0, 0, 0))
CALL(do_unlink, raw(SYS_unlink, path, 0, 0, 0))
CALL(do_unlinkat, raw(SYS_unlinkat, dir, path, 0, 0))
CALL(do_unlinkat_directory, raw(SYS_unlinkat, dir, path, AT_REMOVEDIR, 0))
CALL(do_unlinkat_invalid, raw(SYS_unlinkat, dir, path, AT_SYMLINK_NOFOLLOW, 0))
CALL(do_unlinkat_high, raw(SYS_unlinkat, dir, path, 0x100000000, 0))

static const struct call remove_calls[] = {
    {"rmdir", MAIN, do_rmdir},
    {"unlink", 0, do_unlink},
    {"unlinkat", AT_CALL | MAIN, do_unlinkat},
    {"unlinkat-directory", AT_CALL, do_unlinkat_directory},
    {"unlinkat-invalid", AT_CALL, do_unlinkat_invalid},
    {"unlinkat-high-bit", AT_CALL, do_unlinkat_high},
};

CALL(do_rename_from, raw(SYS_rename, path, "new", 0, 0))
CALL(do_rename_onto_file, raw(SYS_rename, path, "twin", 0, 0))
CALL(do_rename_onto_directory, raw(SYS_rename, path, "e", 0, 0))
CALL(do_rename_onto_full, raw(SYS_rename, path, "full", 0, 0))
CALL(do_rename_to, raw(SYS_rename, "f", path, 0, 0))
CALL(do_rename_directory_to, raw(SYS_rename, "full", path, 0, 0))
CALL(do_rename_twin_to, raw(SYS_rename, "twin2", path, 0, 0))
CALL(do_rename_missing_to, raw(SYS_rename, "none", path, 0, 0))
CALL(do_rename_slash, raw(SYS_rename, path, "new/", 0, 0))
CALL(do_renameat_from, raw(SYS_renameat, dir, path, AT, "new"))
CALL(do_renameat_to, raw(SYS_renameat, AT, "f", dir, path))
CALL(do_renameat2_noreplace, MOVE(dir, path, AT, "twin", 1))
CALL(do_renameat2_noreplace_to, MOVE(AT, "f", dir, path, 1))
CALL(do_renameat2_exchange, MOVE(dir, path, AT, "full", 2))
CALL(do_renameat2_exchange_to, MOVE(AT, "twin", dir, path, 2))
CALL(do_renameat2_whiteout, MOVE(dir, path, AT, "new", 4))
CALL(do_renameat2_both, MOVE(dir, path, AT, "new", 3))
CALL(do_renameat2_unknown, MOVE(dir, path, AT, "new", 64))
CALL(do_renameat2_zero, MOVE(dir, path, dir, path, 0))

static const struct call move_calls[] = {
    {"rename-from", MAIN, do_rename_from},
    {"rename-onto-file", 0, do_rename_onto_file},
    {"rename-onto-directory", 0, do_rename_onto_directory},
    {"rename-onto-full", 0, do_rename_onto_full},
    {"rename-to", 0, do_rename_to},
    {"rename-directory-to", MAIN, do_rename_directory_to},
    {"rename-twin-to", 0, do_rename_twin_to},
    {"rename-missing-to", 0, do_rename_missing_to},
    {"rename-to-slash", 0, do_rename_slash},
    {"renameat-from", AT_CALL, do_renameat_from},
    {"renameat-to", AT_CALL, do_renameat_to},
    {"renameat2-noreplace", AT_CALL, do_renameat2_noreplace},
    {"renameat2-noreplace-to", AT_CALL, do_renameat2_noreplace_to},
    {"renameat2-exchange", AT_CALL, do_renameat2_exchange},
    {"renameat2-exchange-to", AT_CALL | MAIN, do_renameat2_exchange_to},
    {"renameat2-whiteout", AT_CALL, do_renameat2_whiteout},
    {"renameat2-both", AT_CALL, do_renameat2_both},
    {"renameat2-unknown", AT_CALL, do_renameat2_unknown},
    {"renameat2-onto-itself", AT_CALL, do_renameat2_zero},
};

static void makes(void)
{
    for_each(make_calls, sizeof make_calls / sizeof *make_calls);
}

static void removes(void)
{
    for_each(remove_calls, sizeof remove_calls / sizeof *remove_calls);
}

static void moves(void)
{
    for_each(move_calls, sizeof move_calls / sizeof *move_calls);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    return in_place(argv[2], argv,
                    !strcmp(argv[1], "make")     ? makes
                    : !strcmp(argv[1], "remove") ? removes
                                                 : moves);
}
