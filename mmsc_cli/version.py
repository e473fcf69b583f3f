"""The version of this package. It imports nothing."""

__version__ = "0.1.0"
