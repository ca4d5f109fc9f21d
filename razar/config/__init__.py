"""Configuration: files in, typed immutable values or a list of faults out."""
