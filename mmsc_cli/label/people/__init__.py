"""Judging by hand: people are an annotator like others."""
