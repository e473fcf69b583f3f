"""Comparing two nights: what changed in the answers, and how much."""
