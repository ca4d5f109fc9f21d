"""What passes between RAZAR and Crown: frames, answers, the wire, the record."""
