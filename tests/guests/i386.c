/* i386: a 32-bit program that reads the time by libc and by int 0x80; built with -m32 -static. */
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    struct timespec now = {0, 0};
    struct timeval today = {0, 0};
    unsigned word = 0;
    printf("time %ld\n", (long)time(NULL));
    gettimeofday(&today, NULL);
    printf("gettimeofday 0 %ld\n", (long)today.tv_sec);
    clock_gettime(CLOCK_REALTIME, &now);
    printf("clock_gettime 0 %ld\n", (long)now.tv_sec);
    int result = syscall(SYS_time, NULL);
    printf("raw time %d\n", result);
    result = syscall(SYS_getrandom, &word, sizeof word, 0);
    printf("getrandom %d %u\n", result, word);
    return 0;
}
