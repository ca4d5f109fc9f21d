"""From a proposal to a verified change that can be undone."""
