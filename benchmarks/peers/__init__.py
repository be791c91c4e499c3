"""Other schedulers, to be measured beside ours: peer.loaded stores the entries of one, and gives what starts it."""
