"""Executions: those asked for by hand, what is read and cancelled, and what is removed."""
