"""The servicers: a request's message in, an operation, a response's message out."""
