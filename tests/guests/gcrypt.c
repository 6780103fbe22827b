/* gcrypt: random bytes of libgcrypt, of its strongest kind, which RDRAND is mixed into. */
#include "guest.h"
#include <dlfcn.h>

enum { VERY_STRONG = 2 };

int main(void)
{
    void *library = dlopen("libgcrypt.so.20", RTLD_NOW);
    if (!library)
        return 77;
    const char *(*check)(const char *) = (const char *(*)(const char *))dlsym(library, "gcry_check_version");
    void (*draw)(void *, size_t, int) = (void (*)(void *, size_t, int))dlsym(library, "gcry_randomize");
    if (!check(NULL))
        return 1;
    unsigned char bytes[16];
    draw(bytes, sizeof bytes, VERY_STRONG);
    for (size_t i = 0; i < sizeof bytes; i++)
        say("%02x%s", bytes[i], i + 1 < sizeof bytes ? "" : "\n");
    return 0;
}
