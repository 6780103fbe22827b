"""A module without anything."""
