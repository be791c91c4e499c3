"""A platform that looks for trends, as an example: many sources, chains, priorities, and an eye on the queues."""
