"""A workspace between its runs: what it holds, and what of it can go."""
