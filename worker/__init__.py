"""Runs executions: claims one, calls its target, records what came of it."""
