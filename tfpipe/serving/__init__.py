"""HTTP and gRPC server of saved versions, and its client.

What loads a version for use in one's own process is in registry/.
"""
