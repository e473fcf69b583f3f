"""Stage 2b: a second opinion on candidate pairs."""
