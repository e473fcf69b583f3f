"""Adapt an encoder to the catalogue."""
