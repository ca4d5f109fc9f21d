"""The projections of the facts, on real files, sockets, pipes and terminals."""
