// randomdevice [TOKEN...]: what std::random_device gives for each token, by default "default".
#include <cstdio>
#include <exception>
#include <random>
#include <string>

static void show(const std::string &token)
{
    try {
        std::random_device device(token);
        std::printf("%s %08x %08x %08x\n", token.c_str(), device(), device(), device());
    } catch (const std::exception &error) {
        std::printf("%s: %s\n", token.c_str(), error.what());
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        show(argv[i]);
    if (argc == 1)
        show("default");
    // The numbers that follow must be those of the same stream.
    std::random_device device;
    std::printf("%.17g\n", std::uniform_real_distribution<>(0, 1)(device));
}
