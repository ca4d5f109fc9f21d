"""RAZAR boots a stack of services, proves each one healthy, and keeps it so."""

__version__ = "0.1.0"
