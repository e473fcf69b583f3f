"""Numpy building blocks: unit rows, top-k per row, sparse rows, pair keys."""
