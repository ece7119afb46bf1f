"""Unlabelled images: embeddings, UMAP, clusters, novelty, confounders, queue, page.

How images are reviewed and labelled is in `review`.
"""
