"""What the facts look like to people: log, console, timeline, and the pages that are served."""
