"""Reviewers' annotations: log of decisions, spans along photos, changes of a survey."""
