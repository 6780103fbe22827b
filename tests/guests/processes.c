/* processes MODE: makes processes in every way; each prints its numbers, clock and entropy.
 *
 * MODE: tree, race, threads, double, parent, vfork, spawn, clone, clone3, exec, fexec, orphan. */
#include "guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/random.h>
#include <sys/wait.h>

extern char **environ;
static const char *self;

static int describe(char *line, size_t size, const char *name)
{
    struct timespec now;
    unsigned char bytes[8];
    clock_gettime(CLOCK_REALTIME, &now);
    getrandom(bytes, sizeof bytes, 0);
    int length = snprintf(line, size, "%s pid %d ppid %d tid %ld time %lld.%09ld random ", name,
                          getpid(), getppid(), (long)syscall(SYS_gettid), (long long)now.tv_sec,
                          now.tv_nsec);
    for (size_t i = 0; i < sizeof bytes; i++)
        length += snprintf(line + length, size - length, "%02x", bytes[i]);
    line[length++] = '\n';
    line[length] = 0;
    return length;
}

static void me(const char *name)
{
    char line[256];
    describe(line, sizeof line, name);
    say("%s", line);
}

static void reap(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status)
        say("status %x\n", status);
}

static void tree(int depth, const char *name)
{
    me(name);
    for (int i = 0; depth && i < 2; i++) {
        char child[32];
        snprintf(child, sizeof child, "%s.%d", name, i + 1);
        pid_t pid = fork();
        if (!pid) {
            tree(depth - 1, child);
            _exit(0);
        }
        reap(pid);
    }
}

/* Sixteen children at once, half of them with children of their own; each has its own pipe. */
static void race(void)
{
    enum { MANY = 16 };
    int pipes[MANY][2];
    for (int i = 0; i < MANY; i++) {
        if (pipe(pipes[i]))
            _exit(1);
        if (fork())
            continue;
        char line[512], name[32];
        snprintf(name, sizeof name, "racer %d", i);
        int length = describe(line, sizeof line, name);
        if (i % 2) {
            volatile unsigned long sum = 0;
            for (unsigned long n = 0; n < 100000ul * i; n++)
                sum += n;
            pid_t pid = vfork();
            if (!pid)
                _exit(0);
            reap(pid);
            length += snprintf(line + length, sizeof line - length, "  its child %d\n", pid);
        }
        _exit(write(pipes[i][1], line, length) != length);
    }
    for (int i = 0; i < MANY; i++)
        reap(-1);
    for (int i = 0; i < MANY; i++) {
        char line[512];
        ssize_t n = read(pipes[i][0], line, sizeof line);
        say("%.*s", n > 0 ? (int)n : 0, line);
    }
    me("parent");
}

static void *forking_thread(void *name)
{
    me(name);
    pid_t pid = fork();
    if (!pid) {
        me("child of a thread");
        _exit(0);
    }
    reap(pid);
    me(name);
    return NULL;
}

static void threads(void)
{
    for (int i = 0; i < 3; i++) {
        char name[32];
        pthread_t thread;
        snprintf(name, sizeof name, "thread %d", i);
        if (pthread_create(&thread, NULL, forking_thread, name))
            _exit(1);
        pthread_join(thread, NULL);
    }
    me("main");
}

/* The grandchild outlives its parent: it is PID 1's, and says so when its parent has gone. */
static void doubly(void)
{
    int gone[2], done[2];
    char byte;
    if (pipe(gone) || pipe(done))
        _exit(1);
    pid_t pid = fork();
    if (!pid) {
        me("between");
        if (!fork()) {
            close(gone[1]);
            if (read(gone[0], &byte, 1) < 0)
                _exit(1);
            me("orphan");
            pid_t grandchild = fork();
            if (!grandchild) {
                me("orphan's child");
                _exit(0);
            }
            reap(grandchild);
            _exit(write(done[1], "x", 1) != 1);
        }
        _exit(0);
    }
    reap(pid);
    me("first");
    close(gone[1]);
    close(done[1]);
    if (read(done[0], &byte, 1) < 0)
        _exit(1);
    me("last");
}

/* CLONE_PARENT: a sibling, not a child, of the process that makes it. */
static void parent(void)
{
    int fds[2];
    pid_t sibling = 0;
    if (pipe(fds))
        _exit(1);
    pid_t pid = fork();
    if (!pid) {
        me("maker");
        sibling = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
        if (!sibling) {
            char byte;
            close(fds[1]);
            if (read(fds[0], &byte, 1) < 0) /* until the maker has gone */
                _exit(1);
            me("sibling");
            _exit(0);
        }
        say("made %d\n", sibling);
        _exit(0);
    }
    close(fds[1]);
    reap(-1);
    reap(-1);
    me("parent of both");
}

static void vforked(void)
{
    for (int i = 0; i < 3; i++) {
        pid_t pid = vfork();
        if (!pid) {
            execl(self, self, "me", "after vfork", (char *)NULL);
            _exit(127);
        }
        reap(pid);
    }
    me("parent");
}

static void spawned(void)
{
    for (int i = 0; i < 3; i++) {
        pid_t pid;
        char *const arguments[] = {(char *)self, "me", "spawned", NULL};
        if (posix_spawn(&pid, self, NULL, NULL, arguments, environ))
            _exit(1);
        reap(pid);
    }
    if (system("exit 3") != 3 << 8)
        say("system failed\n");
    FILE *stream = popen("echo popen", "r");
    char word[16] = "";
    if (!stream || fscanf(stream, "%15s", word) != 1)
        say("popen failed\n");
    pclose(stream);
    say("%s\n", word);
    me("parent");
}

static void cloned(void)
{
    static const unsigned long flags[] = {SIGCHLD, CLONE_VFORK | CLONE_VM | SIGCHLD,
                                          CLONE_FS | CLONE_FILES | SIGCHLD,
                                          CLONE_UNTRACED | SIGCHLD, 0};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (flags[i] & CLONE_VM)
            continue; /* needs a stack of its own: posix_spawn does it */
        pid_t pid = syscall(SYS_clone, flags[i], NULL, NULL, NULL, NULL);
        if (!pid) {
            me("cloned");
            _exit(0);
        }
        int status;
        if (waitpid(pid, &status, __WALL) != pid)
            say("lost %d\n", pid);
    }
    me("parent");
}

static void cloned3(void)
{
    uint64_t arguments[11] = {0};
    arguments[4] = SIGCHLD;
    long pid = syscall(SYS_clone3, arguments, 64);
    if (pid < 0) {
        say("clone3: %d\n", errno);
        pid = fork();
    }
    if (!pid) {
        me("child");
        _exit(0);
    }
    reap(pid);
    me("parent");
}

static void *one_more(void *name)
{
    me(name);
    return NULL;
}

static void exec_from_thread_group(int by_descriptor)
{
    pthread_t thread;
    me("before");
    if (pthread_create(&thread, NULL, one_more, "thread"))
        _exit(1);
    pthread_join(thread, NULL);
    char *const arguments[] = {(char *)self, "me", "after exec", NULL};
    if (!by_descriptor)
        execv(self, arguments);
    else
        fexecve(open(self, O_RDONLY | O_CLOEXEC), arguments, environ);
    _exit(127);
}

int main(int count, char **argument)
{
    self = argument[0];
    if (count < 2)
        return 2;
    const char *mode = argument[1];
    if (!strcmp(mode, "me"))
        me(count > 2 ? argument[2] : "me");
    else if (!strcmp(mode, "tree"))
        tree(3, "1");
    else if (!strcmp(mode, "race"))
        race();
    else if (!strcmp(mode, "threads"))
        threads();
    else if (!strcmp(mode, "double"))
        doubly();
    else if (!strcmp(mode, "parent"))
        parent();
    else if (!strcmp(mode, "vfork"))
        vforked();
    else if (!strcmp(mode, "spawn"))
        spawned();
    else if (!strcmp(mode, "clone"))
        cloned();
    else if (!strcmp(mode, "clone3"))
        cloned3();
    else if (!strcmp(mode, "exec"))
        exec_from_thread_group(0);
    else if (!strcmp(mode, "fexec"))
        exec_from_thread_group(1);
    else
        return 2;
    return 0;
}
