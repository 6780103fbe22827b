"""The mathematics: clocks, streams and names. No system calls, nothing of ours imported.

What a program sees is computed here from values that do not depend on the schedule; the supervisor
only asks and, once the kernel has taken an answer, commits.
"""
