#!/bin/bash
# Python trusts a .pyc file by time and size of its source, and a directory's listing by its time.
export PYTHONPATH=$PWD
unset PYTHONDONTWRITEBYTECODE
echo 'value = "one"' >module.py
says one python3 -c 'import module; print(module.value)'
compiled=$(echo __pycache__/module.*.pyc)
before=$(stat -c '%i %.9Y' "$compiled")
says one python3 -c 'import module; print(module.value)'
says "$before" stat -c '%i %.9Y' "$compiled"
touch -r module.py "$compiled"
says one python3 -c 'import module; print(module.value)'

# Of the same size, and at once.
second
echo 'value = "two"' >module.py
says two python3 -c 'import module; print(module.value)'
[ "$before" != "$(stat -c '%i %.9Y' "$compiled")" ] || fail "not compiled again"
says two python3 -c 'import module; print(module.value)'

cat >inside.py <<'END'
import importlib
import pathlib

import module

path = pathlib.Path("module.py")
for word in ("six", "ten", "two"):
    path.write_text(f'value = "{word}"\n')
    importlib.reload(module)
    assert module.value == word, module.value
for number in range(5):
    name = f"later_{number}"
    try:
        importlib.import_module(name)
    except ImportError:
        pathlib.Path(f"{name}.py").write_text("")
    importlib.import_module(name)
END
# Bare this would need a second between its steps.
[ -n "${BARE:-}" ] || says "" python3 inside.py
