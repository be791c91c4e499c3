"""The services that jobs call: registered, described, tested, and checked against the jobs."""
