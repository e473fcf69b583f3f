"""Rows of shop exports that inherit from other rows, by blocks."""
