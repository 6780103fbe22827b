"""Container images: a store of them, what they are called, and their ways in and out."""
