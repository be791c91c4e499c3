"""A platform that collects data, as an example: what each customer costs, every 15 minutes."""
