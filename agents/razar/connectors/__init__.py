"""Whether the services that RAZAR relies on can be reached."""
