"""Numbers, queues, and who is alive."""
