"""What surrounds every call: who calls, limits, repeated requests, refusals as statuses, pages, messages."""
