"""The agents that repair is handed to: calling them, and reading what they propose."""
