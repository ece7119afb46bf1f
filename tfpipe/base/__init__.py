"""Helpers that every room may use: files, tables, images, locks, processes, progress, errors.

Nothing here knows of tasks, records or models; base imports no other room.
"""
