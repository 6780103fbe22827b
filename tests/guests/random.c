/* random MODE: every source of entropy. MODE: values, errors, auxv, canary, device PATH, proc. */
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/wait.h>

/* As linux/random.h has it; musl-gcc does not find the kernel's headers. */
#ifndef RNDGETENTCNT
#define RNDGETENTCNT _IOR('R', 0, int)
#endif

static unsigned char buffer[1 << 20];

static void show(const char *name, long result, const unsigned char *bytes)
{
    say("%s %ld ", name, result);
    for (long i = 0; i < result && i < 16; i++)
        say("%02x", bytes[i]);
    say(" %016llx\n",
        (unsigned long long)fnv(FNV_START, bytes, result > 0 ? (size_t)result : 0));
}

static void values(void)
{
    static const size_t lengths[] = {0, 1, 2, 19, 20, 21, 255, 256, 257, 4096, 1 << 20};
    static const unsigned flags[] = {0, GRND_NONBLOCK, GRND_RANDOM, GRND_RANDOM | GRND_NONBLOCK,
                                     4 /* GRND_INSECURE */, 4 | GRND_NONBLOCK};
    for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            char name[64];
            snprintf(name, sizeof name, "flags %u length %zu:", flags[f], lengths[l]);
            show(name, syscall(SYS_getrandom, buffer, lengths[l], flags[f]), buffer);
        }
    show("libc", getrandom(buffer, 32, 0), buffer);
    show("getentropy", getentropy(buffer, 32) ? -1 : 32, buffer);
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 36)
    uint32_t number = arc4random();
    show("arc4random", sizeof number, (unsigned char *)&number);
    arc4random_buf(buffer, 100);
    show("arc4random_buf", 100, buffer);
#endif
#endif
    int status;
    pid_t child = fork();
    if (!child) {
        show("child", getrandom(buffer, 16, 0), buffer);
        _exit(0);
    }
    waitpid(child, &status, 0);
    show("parent", getrandom(buffer, 16, 0), buffer);
}

#define RESULT(call) \
    do { \
        errno = 0; \
        long result = (call); \
        say("%s %ld %d\n", #call, result, errno); \
    } while (0)

static void errors(void)
{
    void *wrong = (void *)8;
    for (unsigned flags = 0; flags < 17; flags++)
        say("flags %u: %d\n", flags, syscall(SYS_getrandom, buffer, 1, flags) < 0 ? errno : 0);
    RESULT(syscall(SYS_getrandom, buffer, 1, 0x80000000u));
    RESULT(syscall(SYS_getrandom, NULL, 0, 0));
    RESULT(syscall(SYS_getrandom, NULL, 1, 0));
    RESULT(syscall(SYS_getrandom, NULL, 4096, 0));
    RESULT(syscall(SYS_getrandom, wrong, 16, 0));
    RESULT(syscall(SYS_getrandom, wrong, 16, GRND_NONBLOCK));
    RESULT(syscall(SYS_getrandom, NULL, 1, 99));
    RESULT(syscall(SYS_getrandom, buffer, sizeof buffer, 0));
    RESULT(getentropy(buffer, 257));
}

static void device(const char *path)
{
    static const size_t sizes[] = {0, 1, 3, 20, 255, 4095, 4096, 65536, 1 << 20};
    int fd = open(path, O_RDWR);
    if (fd < 0)
        fd = open(path, O_RDONLY);
    say("open %d\n", fd < 0 ? errno : 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t got = 0;
        ssize_t n = 1;
        while (got < sizes[i] && (n = read(fd, buffer + got, sizes[i] - got)) > 0)
            got += n;
        show("read", got, buffer);
    }
    struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
    int result = poll(&ready, 1, 0);
    say("poll %d %d\n", result, ready.revents & (POLLIN | POLLOUT));
    say("write %zd\n", write(fd, "entropy", 7));
    int bits = -1;
    result = ioctl(fd, RNDGETENTCNT, &bits);
    say("RNDGETENTCNT %d %d\n", result, result ? errno : bits);
    close(fd);
    fd = open(path, O_RDONLY);
    show("again", read(fd, buffer, 16), buffer);
    close(fd);
    pid_t child = fork();
    if (!child) {
        fd = open(path, O_RDONLY);
        show("child", read(fd, buffer, 16), buffer);
        _exit(0);
    }
    waitpid(child, &result, 0);
}

static void proc(void)
{
    static const char *const names[] = {"uuid", "uuid", "boot_id", "boot_id", "entropy_avail",
                                        "poolsize"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/sys/kernel/random/%s", names[i]);
        int fd = open(path, O_RDONLY);
        ssize_t n = read(fd, buffer, 128);
        say("%s %zd %.*s", names[i], n, n > 0 ? (int)n : 0, buffer);
        close(fd);
    }
}

int main(int count, char **argument)
{
    const char *mode = count > 1 ? argument[1] : "";
    if (!strcmp(mode, "values"))
        values();
    if (!strcmp(mode, "errors"))
        errors();
    if (!strcmp(mode, "auxv"))
        show("AT_RANDOM", 16, (const unsigned char *)getauxval(AT_RANDOM));
#ifdef __x86_64__
    if (!strcmp(mode, "canary")) {
        unsigned long canary, pointer_guard;
        __asm__("mov %%fs:0x28, %0" : "=r"(canary));
        __asm__("mov %%fs:0x30, %0" : "=r"(pointer_guard));
        say("canary %016lx guard %016lx\n", canary, pointer_guard);
    }
#endif
    if (!strcmp(mode, "addresses"))
        say("stack %p heap %p text %p library %p vdso %lx\n", (void *)&count, malloc(1),
            (void *)main, (void *)(uintptr_t)&getpid, getauxval(AT_SYSINFO_EHDR));
    if (!strcmp(mode, "device") && count > 2)
        device(argument[2]);
    if (!strcmp(mode, "proc"))
        proc();
    return 0;
}
