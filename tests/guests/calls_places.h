/* Where and as whom the calls are made: `in_place` makes the scene, goes there and runs `work`. */
#ifndef CALLS_PLACES_H
#define CALLS_PLACES_H
#include "calls.h"

#include <linux/capability.h>
#include <pthread.h>
#include <sys/fsuid.h>

#define NOBODY 65534

static void (*place_work)(void);
/* Set in all places but one: only the main calls are made. */
static int few __attribute__((unused));

static inline void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    must(fd, path);
    must(write(fd, text, strlen(text)) < 0 ? -errno : 0, path);
    close(fd);
}

/* The directory "own", which belongs to nobody and is beside what belongs to root. */
static inline void make_own(void)
{
    must(raw(SYS_mkdir, "own", 0755, 0, 0), "own");
    must(raw(SYS_chown, "own", NOBODY, NOBODY, 0), "own");
    static const char *const links[] = {"closed", "listed", "hidden", "sticky", "chain"};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        char to[64], name[64];
        snprintf(to, sizeof to, "../%s", links[i]);
        snprintf(name, sizeof name, "own/%s", links[i]);
        must(raw(SYS_symlink, to, name, 0, 0), name);
    }
    must(raw(SYS_chdir, "own", 0, 0, 0), "own");
    no_root = 1;
}

static inline void become_nobody(void)
{
    gid_t groups[] = {12};
    make_own();
    must(raw(SYS_setgroups, 1, groups, 0, 0), "setgroups");
    must(raw(SYS_setresgid, NOBODY, NOBODY, NOBODY, 0), "setresgid");
    must(raw(SYS_setresuid, NOBODY, NOBODY, NOBODY, 0), "setresuid");
}

/* File access as nobody while every other id stays root's. */
static inline void become_fs_nobody(void)
{
    make_own();
    setfsgid(NOBODY);
    setfsuid(NOBODY);
}

static inline void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    raw(SYS_chown, "hidden/x", NOBODY, NOBODY, 0);
    raw(SYS_chown, "closed", NOBODY, NOBODY, 0);
    raw(SYS_chown, "listed", NOBODY, NOBODY, 0);
    no_root = 1;
    must(raw(SYS_capset, &header, none, 0, 0), "capset");
}

static inline void enter_chroot(void)
{
    must(raw(SYS_mkdir, "jail", 0755, 0, 0), "jail");
    must(raw(SYS_mkdir, "jail/proc", 0755, 0, 0), "jail/proc");
    must(raw(SYS_mkdir, "jail/dev", 0755, 0, 0), "jail/dev");
    must(raw(SYS_unshare, CLONE_NEWNS, 0, 0, 0), "unshare");
    must(mount("/proc", "jail/proc", NULL, MS_BIND | MS_REC, NULL) ? -errno : 0, "mount");
    must(symlink("/proc/self/fd", "jail/dev/fd") ? -errno : 0, "jail/dev/fd");
    must(raw(SYS_chroot, "jail", 0, 0, 0), "chroot");
    must(raw(SYS_chdir, "/", 0, 0, 0), "/");
    make_scene();
    must(raw(SYS_symlink, "/s", "/absolute", 0, 0), "absolute");
}

/* A jail whose working directory stays outside: ".." leads further out, "/" does not. */
static inline void enter_leaky_chroot(void)
{
    must(raw(SYS_mkdir, "jail", 0755, 0, 0), "jail");
    must(raw(SYS_chroot, "jail", 0, 0, 0), "chroot");
}

static inline void enter_mounts(void)
{
    must(raw(SYS_unshare, CLONE_NEWNS, 0, 0, 0), "unshare");
    must(raw(SYS_mkdir, "m", 0755, 0, 0), "m");
    must(mount("tmpfs", "m", "tmpfs", 0, NULL) ? -errno : 0, "tmpfs");
    must(raw(SYS_chdir, "m", 0, 0, 0), "m");
    make_scene();
}

/* A bind mount of one directory over another that was opened before. */
static inline void enter_bind(void)
{
    must(raw(SYS_unshare, CLONE_NEWNS, 0, 0, 0), "unshare");
    must(raw(SYS_mkdir, "below", 0755, 0, 0), "below");
    must(raw(SYS_mkdir, "above", 0755, 0, 0), "above");
    must(mount("above", "below", NULL, MS_BIND, NULL) ? -errno : 0, "bind");
    must(raw(SYS_chdir, "below", 0, 0, 0), "below");
    make_scene();
}

static inline void enter_user_namespace(void)
{
    char map[64];
    unsigned uid = geteuid(), gid = getegid();
    must(raw(SYS_unshare, CLONE_NEWUSER, 0, 0, 0), "unshare");
    write_text("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_text("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_text("/proc/self/gid_map", map);
}

/* A working directory whose path is longer than any path may be. */
static inline void enter_deep(void)
{
    char name[201];
    memset(name, 'd', 200);
    name[200] = 0;
    for (int i = 0; i < 24; i++) {
        must(raw(SYS_mkdir, name, 0755, 0, 0), "deep");
        must(raw(SYS_chdir, name, 0, 0, 0), "deep");
    }
    make_scene();
}

/* Alone with its working directory and descriptors, while the first thread's are elsewhere. */
static void *work_in_thread(void *unused)
{
    must(raw(SYS_unshare, CLONE_FS | CLONE_FILES, 0, 0, 0), "unshare");
    must(raw(SYS_chdir, "th", 0, 0, 0), "th");
    make_scene();
    place_work();
    return unused;
}

static inline void run_thread(void)
{
    pthread_t thread;
    must(raw(SYS_mkdir, "th", 0755, 0, 0), "th");
    if (pthread_create(&thread, NULL, work_in_thread, NULL))
        _exit(97);
    pthread_join(thread, NULL);
    for (int fd = FD_DIR; fd <= FD_FILE; fd++)
        say("main thread's descriptor: %s\n", number(raw(SYS_fcntl, fd, F_GETFD, 0, 0)));
}

static int work_in_child(void *unused)
{
    must(raw(SYS_chdir, "vf", 0, 0, 0), "vf");
    make_scene();
    place_work();
    return unused != NULL;
}

/* In a child that shares our memory while we wait, as vfork's does, with a stack of its own. */
static inline void run_vfork(void)
{
    size_t size = 1 << 20;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(raw(SYS_mkdir, "vf", 0755, 0, 0), "vf");
    int pid = clone(work_in_child, stack + size, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    must(pid < 0 ? -errno : 0, "clone");
    waitpid(pid, NULL, 0);
}

/* Not root, but running root's setuid program. */
static inline void run_setuid(char **argv)
{
    char self[512];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    int in = open(self, O_RDONLY), out = open("suid", O_WRONLY | O_CREAT | O_EXCL, 0700);
    char chunk[4096];
    while ((n = read(in, chunk, sizeof chunk)) > 0)
        must(write(out, chunk, n) - n, "copy");
    must(fchmod(out, 04755), "suid");
    close(in);
    close(out);
    must(raw(SYS_setresuid, NOBODY, NOBODY, NOBODY, 0), "setresuid");
    execv("./suid", (char *[]){"./suid", argv[1], "plain", NULL});
    must(-errno, "exec");
}

static const struct {
    const char *name;
    void (*enter)(void);
} places[] = {
    {"nobody", become_nobody},    {"fsuid", become_fs_nobody}, {"capless", drop_capabilities},
    {"leaky", enter_leaky_chroot}, {"userns", enter_user_namespace}, {"plain", NULL},
};

static const struct {
    const char *name;
    void (*enter)(void);
} far_places[] = {
    {"chroot", enter_chroot}, {"mounts", enter_mounts}, {"bind", enter_bind}, {"deep", enter_deep},
};

static inline int in_place(const char *place, char **argv, void (*work)(void))
{
    umask(022);
    must(raw(SYS_close_range, 3, ~0u, 0, 0), "close_range");
    raw(SYS_mkdir, "scene", 0755, 0, 0);
    must(raw(SYS_chdir, "scene", 0, 0, 0), "scene");
    keep(raw(SYS_open, ".", O_RDONLY | O_DIRECTORY, 0, 0), 0);
    place_work = work;
    few = strcmp(place, "plain");
    if (!strcmp(place, "suid"))
        run_setuid(argv);
    else if (!strcmp(place, "thread"))
        run_thread();
    else if (!strcmp(place, "vfork"))
        run_vfork();
    for (size_t i = 0; i < sizeof far_places / sizeof *far_places; i++)
        if (!strcmp(place, far_places[i].name)) {
            far_places[i].enter();
            work();
        }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!strcmp(place, places[i].name)) {
            make_scene();
            if (places[i].enter)
                places[i].enter();
            work();
        }
    say("end\n");
    return 0;
}
#endif
