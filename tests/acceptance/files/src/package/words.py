"""Says its words, so that there is something to compile."""

WORDS = ("files", "times", "numbers")


def say() -> None:
    """Print them."""
    for word in WORDS:
        print(word)
