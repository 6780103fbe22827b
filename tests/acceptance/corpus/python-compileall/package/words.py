"""Something to compile."""


def main() -> None:
    """Print two words."""
    print("two words")
