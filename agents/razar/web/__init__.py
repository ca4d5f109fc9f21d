"""HTTP with agents and connectors: addresses, one exchange, what an error answer means."""
