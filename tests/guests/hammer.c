/* Reads the clock by a raw system call until killed; a failure is written down in the working
 * directory: a dying supervisor must not leave its guest running on errors. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    struct timespec now;
    puts("running");
    fflush(stdout);
    while (syscall(SYS_clock_gettime, CLOCK_REALTIME, &now) == 0)
        ;
    int number = errno;
    int fd = open("failed", O_CREAT | O_WRONLY, 0644);
    dprintf(fd, "errno %d\n", number);
    return 1;
}
