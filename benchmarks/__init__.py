"""Measurements side by side: each module compares nsbuild with others and asserts nothing.

`python -m benchmarks [NAME...]` runs all or those named, QUICK=1 in the environment shortens them.
"""
