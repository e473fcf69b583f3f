"""Stage 3: items, pairs and embeddings become a model and an index."""
