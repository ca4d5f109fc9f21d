"""What an agent is told: the context of a failure, with secrets masked, and a report of what left."""
