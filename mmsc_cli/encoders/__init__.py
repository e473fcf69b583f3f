"""Encoders of texts and images; encode and infer both use them."""
