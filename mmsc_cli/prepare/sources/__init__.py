"""Readers of the sources a recipe can name."""
