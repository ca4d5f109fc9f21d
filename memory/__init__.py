"""The memory of a mission."""
