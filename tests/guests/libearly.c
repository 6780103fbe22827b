/* A library whose constructor reads the clock before main, before any file of the program's own. */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

struct timespec early_library, early_library_raw;

__attribute__((constructor)) static void at_load(void)
{
    clock_gettime(CLOCK_REALTIME, &early_library);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &early_library_raw);
}
