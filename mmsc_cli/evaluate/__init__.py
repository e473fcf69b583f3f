"""Stage 4: the verdict on a trained model."""
