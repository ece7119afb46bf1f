"""Checks of the numbers that tfpipe prints, each against a truth that was made independently."""
