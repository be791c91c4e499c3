"""What can be measured, each by one command."""
