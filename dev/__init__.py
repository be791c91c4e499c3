"""What a developer's machine needs: generated stubs, private servers, and one command that runs the system."""
