"""What runs in the peers' own environment: one module a peer. They import nothing of ours."""
