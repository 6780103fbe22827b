"""A process that runs one verb for the service: `python -m nsbuild.service.child DESCRIPTOR`.

The words come as JSON from a descriptor and not as arguments, which everybody on the machine could
read and of which none may be longer than 128 KiB (MAX_ARG_STRLEN, execve(2)).
"""

from __future__ import annotations

import json
import os
import sys

from nsbuild.cli import main

if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1])) as words:
        sys.argv = ["nsbuild", *json.load(words)]
    main()
