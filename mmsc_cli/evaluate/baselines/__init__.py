"""What the model has to beat: each baseline sees the training pairs and metadata of the model, no more."""
