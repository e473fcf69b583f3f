"""Graph neural networks as baselines: one training loop, and the networks. Imported only when one is fitted."""
