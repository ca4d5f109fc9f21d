"""Who is asked when, and what forbids it: ladder, budgets, breakers, pace, storm brake, pause."""
