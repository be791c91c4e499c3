"""Two targets to try the scheduler with: small, real, and meant to be replaced."""
