"""Graph neural networks as baselines: one training loop, one small file per network. Imported only to be fitted."""
