"""The kernel's own things, bound once and by the kernel's names.

One module a family: `libc` has the C library handle and the checked `syscall`; the others hold the
constants, structs and calls of their family and nothing that decides anything.
"""
