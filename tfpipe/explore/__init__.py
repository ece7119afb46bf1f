"""Unlabelled images: embeddings, UMAP, clusters, novelty, confounders, queue, page."""
