"""schedctl: the command line for operators. A gRPC client, and nothing else."""
