"""Longer campaigns of what `tests/faults` does in short; see `python -m benchmarks.faults`."""
