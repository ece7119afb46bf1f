"""A version's report: plots, sections, gallery. Computes no score of its own."""
