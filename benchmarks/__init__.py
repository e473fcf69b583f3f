"""What is measured rather than tested: `python -m benchmarks.NAME`."""
