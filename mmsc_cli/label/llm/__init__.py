"""A language model as annotator."""
