"""Writes a table in the order of a set, as generators do that forget to sort."""

import pickle
import sys
import tempfile
import uuid
from pathlib import Path


class Symbol:
    """Hashed by its address."""


out = Path(sys.argv[1])
words = {f"word-{number}" for number in range(60)}
symbols = [Symbol() for _ in range(20)]
order = {symbol: number for number, symbol in enumerate(symbols)}
table = [f"    {word!r},\n" for word in words]
(out / "table.py").write_text(f"TABLE = [\n{''.join(table)}]\n")
(out / "words.pickle").write_bytes(pickle.dumps(words))
seen = [order[symbol] for symbol in set(symbols)]
with tempfile.NamedTemporaryFile() as file:
    text = f"{seen} {symbols[0]} {Path(file.name).name} {uuid.uuid1()} {uuid.uuid4()}\n"
(out / "seen").write_text(text)
