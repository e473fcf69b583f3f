"""Linear item-to-item models, used by the model's linear branch and by the baselines."""
