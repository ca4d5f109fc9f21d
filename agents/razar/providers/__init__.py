"""The remote agents, one module each; what they have in common is in ``call``."""
