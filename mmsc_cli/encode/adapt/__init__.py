"""Adapting an encoder to the catalogue."""
