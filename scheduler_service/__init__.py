"""The gRPC server: transport in, answers out. What it decides about time it asks of shared.domain."""
