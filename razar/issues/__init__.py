"""What is wrong, as far as an error text or a log tells, and what to do about it."""
