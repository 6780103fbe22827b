"""nsbuild inside other programs, one package for each; nothing else of nsbuild imports them.

Code in here runs in the other program's Python, where nsbuild's own modules need not work. So it
imports nothing of nsbuild, and starts the command `nsbuild` like anybody else.
"""
