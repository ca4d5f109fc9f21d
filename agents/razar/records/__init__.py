"""What is kept of attempts: the log, what became of the files, the memory, the packet for the operator."""
