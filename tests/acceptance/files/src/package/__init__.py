"""A package that is there to be compiled."""
