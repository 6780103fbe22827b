"""The programs that the system tests run inside a container, and how they are built."""
