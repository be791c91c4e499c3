"""Requests that no client should send: built from the descriptors of any method, odd in many ways."""
