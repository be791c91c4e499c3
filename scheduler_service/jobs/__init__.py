"""Jobs: from what a client sent to what is stored, one, listed, or many at a time."""
