"""The container: what it is to be, how it is built, and the processes that run it."""
