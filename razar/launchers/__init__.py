"""Where a component runs: the interface (base) and the engines behind it."""
