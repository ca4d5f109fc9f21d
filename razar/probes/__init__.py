"""The probes: one kind, one module."""
