"""The mission as a pure function: (plan, state, event, now) -> (state, effects, facts).

Nothing in this package does I/O, reads a clock or draws a random number.
"""
