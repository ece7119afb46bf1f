"""The review page: what helps most to look at, and what reviewers say of it, kept in labels.csv."""
