"""What the commands show an operator, and how they find it out."""
