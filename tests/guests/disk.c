/* disk MAPPED OPENED: a thread looks at every page of a file that is mapped before there are
 * threads and of one that it opens itself, and pushes 1 to a list for each; another pushes 2 as
 * often. Prints the list, as how often in turn: whoever waits for a disk is overtaken. */
#include "guest.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAGE = 4096, MOST = 1 << 16 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char list[MOST];
static int length;
static const char *pages, *other;
static size_t size;

static void push(char what)
{
    pthread_mutex_lock(&mutex);
    if (length < MOST)
        list[length++] = what;
    pthread_mutex_unlock(&mutex);
}

static void *look(void *unused)
{
    volatile char sum = 0;
    for (size_t at = 0; at < size; at += PAGE) {
        sum += pages[at];
        push(1);
    }
    int fd = open(other, O_RDONLY);
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    char byte;
    for (size_t at = 0; pread(fd, &byte, 1, at) == 1; at += PAGE)
        push(1);
    close(fd);
    return unused;
}

static void *push_only(void *unused)
{
    for (size_t at = 0; at < size; at += PAGE) {
        push(2);
        push(2);
    }
    return unused;
}

int main(int argc, char **argv)
{
    struct stat about;
    int fd = argc == 3 ? open(argv[1], O_RDONLY) : -1;
    if (fd < 0 || fstat(fd, &about) < 0)
        return 2;
    other = argv[2];
    size = about.st_size;
    pages = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (pages == MAP_FAILED || madvise((void *)pages, size, MADV_RANDOM) < 0)
        return 3;
    pthread_t threads[2];
    if (pthread_create(&threads[0], NULL, look, NULL) || pthread_create(&threads[1], NULL, push_only, NULL))
        return 4;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    for (int at = 0, from = 0; at <= length; at++)
        if (at == length || list[at] != list[from]) {
            say("%d x %d\n", list[from], at - from);
            from = at;
        }
    return 0;
}
