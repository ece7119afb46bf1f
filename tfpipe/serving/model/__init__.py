"""Served versions: the scan before loading, loading, batching, and the store of what is loaded."""
