"""A package whose version is the moment at which it is built."""

import time

from setuptools import setup

setup(name="small", version=time.strftime("%Y.%m.%d.dev%H%M%S"), py_modules=["small"])
