"""The index: its file format, and searching it."""
