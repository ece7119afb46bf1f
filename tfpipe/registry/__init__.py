"""Saved versions: export, parity check, numbering, cards, loading, rollback. Trains nothing."""
