"""Streams of what happens, from one reader of the store, and waiting for an end."""
