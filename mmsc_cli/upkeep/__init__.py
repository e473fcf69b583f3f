"""A workspace between its runs: what mmsc doctor reports, and what mmsc clean removes."""
