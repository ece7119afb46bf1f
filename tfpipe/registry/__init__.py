"""Saved versions: export, parity check, numbering, cards, loading, rollback.

Trains nothing; what a training writes while it runs is in `training`.
"""
