"""Recipes: data sets and settings as TOML files, never code."""
