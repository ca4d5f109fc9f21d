"""What an agent may propose, and how that is read out of its answer."""
