"""Other schedulers, to be measured beside ours."""
