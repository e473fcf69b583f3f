"""Substitutable and complementary items of a catalogue, from metadata and noisy shopper behaviour."""

__version__ = "0.1.0"
