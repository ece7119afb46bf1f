"""Versions that a server has loaded: store, batching, and the scan of their graphs."""
