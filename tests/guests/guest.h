/* What the guests share: raw system calls, unbuffered lines, the vDSO by hand, one hash.
 *
 * A guest prints what it saw and nothing else. Lines are written with one write(2) each, so that
 * the lines of several processes never mix and no stdio buffer is copied by fork. */
#ifndef GUEST_H
#define GUEST_H
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline void say(const char *format, ...)
{
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    for (int done = 0; done < length;) {
        ssize_t n = write(1, line + done, length - done);
        if (n < 0 && errno != EINTR)
            _exit(99);
        done += n > 0 ? n : 0;
    }
}

/* The kernel's answer itself, -errno on failure: syscall(2) without the C library. */
#ifdef __x86_64__
static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#define raw(nr, a, b, c, d) raw6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#endif

/* FNV-1a, to print much as little. */
static inline uint64_t fnv(uint64_t hash, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3ull;
    return hash;
}
#define FNV_START 0xcbf29ce484222325ull

/* Address of a vDSO function, found as the kernel's own parse_vdso.c finds it; NULL if none. */
static inline void *vdso_symbol(const char *wanted)
{
    uintptr_t base = getauxval(AT_SYSINFO_EHDR);
    if (!base)
        return NULL;
    const Elf64_Ehdr *header = (const void *)base;
    const Elf64_Phdr *segment = (const void *)(base + header->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    uintptr_t slide = base;
    for (int i = 0; i < header->e_phnum; i++, segment++) {
        if (segment->p_type == PT_LOAD)
            slide = base + segment->p_offset - segment->p_vaddr;
        if (segment->p_type == PT_DYNAMIC)
            dynamic = (const void *)(base + segment->p_offset);
    }
    const Elf64_Sym *symbols = NULL;
    const char *names = NULL;
    const Elf64_Word *hash = NULL, *gnu_hash = NULL;
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = (const void *)(slide + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB)
            names = (const void *)(slide + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_HASH)
            hash = (const void *)(slide + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_GNU_HASH)
            gnu_hash = (const void *)(slide + dynamic->d_un.d_ptr);
    }
    if (!symbols || !names || (!hash && !gnu_hash))
        return NULL;
    /* Newer kernels have DT_GNU_HASH only, which does not say how many symbols there are; the
     * vDSO has a dozen, and its string table begins where its symbols end. */
    size_t count = hash ? hash[1] : ((uintptr_t)names - (uintptr_t)symbols) / sizeof *symbols;
    for (size_t i = 0; i < count; i++)
        if (symbols[i].st_shndx && !strcmp(names + symbols[i].st_name, wanted))
            return (void *)(slide + symbols[i].st_value);
    return NULL;
}
#endif
