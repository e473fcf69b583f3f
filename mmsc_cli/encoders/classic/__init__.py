"""The classic encoder: no downloads, no GPU."""
