"""HTTP and gRPC server for saved versions, and its client."""
