"""One boot from start to end, and what it needs around it."""
