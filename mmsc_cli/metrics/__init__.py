"""Ranking metrics and their uncertainty."""
