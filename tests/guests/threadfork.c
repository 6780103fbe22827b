/* Three threads make threads as fast as they can while the main thread forks: every child prints its
 * number and a random byte. The numbers of threads come from the same counter as those of processes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAKERS = 3, THREADS = 60, FORKS = 40 };

static void *nothing(void *unused) { return unused; }

static void *make_threads(void *unused)
{
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return unused;
}

int main(void)
{
    pthread_t makers[MAKERS];
    for (int i = 0; i < MAKERS; i++)
        if (pthread_create(&makers[i], NULL, make_threads, NULL) != 0)
            return 1;
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child < 0)
            return 2;
        if (child == 0) {
            unsigned char byte = 0;
            if (getrandom(&byte, 1, 0) != 1)
                _exit(3);
            printf("%d %02x\n", (int)getpid(), byte);
            fflush(stdout);
            _exit(0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status != 0)
            return 4;
    }
    for (int i = 0; i < MAKERS; i++)
        pthread_join(makers[i], NULL);
    return 0;
}
