"""A synthetic shop with noisy shoppers, whose true relations are known."""
