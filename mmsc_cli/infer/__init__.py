"""Answer questions from the index alone; only new items load torch and the encoder."""
