"""The training loop of the network."""
