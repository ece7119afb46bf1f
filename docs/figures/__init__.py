"""Figures and sentences of pages, each module from what the commands of one tutorial wrote."""
