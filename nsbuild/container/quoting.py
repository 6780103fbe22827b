"""Names in messages, quoted as the GNU tools quote them, because scripts compare what chroot says.

They have two ways: a name in the locale's own quotation marks, and one that a shell would read.
Both depend on the locale only by what it can print, which is taken to be UTF-8 or ASCII.
"""

from __future__ import annotations

import os

_LETTERS = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r"}
_SAME_IN_C = frozenset("%+,-./:]_@' ")
"""What means the same between double quotes to C and to a shell, beside letters and digits."""


def _escape(byte: int) -> str:
    letter = _LETTERS.get(byte)
    return f"\\{letter}" if letter else f"\\{byte:03o}"


def _pieces(text: str, utf8: bool) -> list[tuple[str, bool]]:
    """Each character and whether it can be printed; one that cannot comes as its escapes."""
    pieces = []
    for character in text:
        raw = os.fsencode(character)
        printable = character.isprintable() and (len(raw) == 1 or utf8)
        pieces.append((character if printable else "".join(map(_escape, raw)), printable))
    return pieces


def quote(text: str, utf8: bool) -> str:
    """`text` in the locale's quotation marks."""
    left, right = ("\u2018", "\u2019") if utf8 else ("'", "'")
    quoted = "".join(
        f"\\{piece}" if piece in (right, "\\") else piece for piece, _ in _pieces(text, utf8)
    )
    return left + quoted + right


def shell_quote(text: str, utf8: bool) -> str:
    """`text` as one word of a shell's, always in quotation marks."""
    pieces = _pieces(text, utf8)
    if "'" in text and _means_the_same_in_c(pieces):
        return f'"{text}"'
    quoted = "'"
    escaping = False
    for piece, printable in pieces:
        if not printable and not escaping:
            quoted += "'$'"
        elif printable and escaping and piece != "'":
            quoted += "''"
        escaping = not printable
        quoted += "'\\''" if piece == "'" else piece
    return quoted + "'"


def _means_the_same_in_c(pieces: list[tuple[str, bool]]) -> bool:
    # What a shell minds at the beginning of a word, coreutils accepts there and nowhere else.
    first = pieces[0][0] in "#~"
    return all(
        printable and (not piece.isascii() or piece.isalnum() or piece in _SAME_IN_C)
        for piece, printable in pieces[first:]
    )
