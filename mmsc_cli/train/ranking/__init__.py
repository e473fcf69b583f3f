"""The second stage: candidates of the linear branch, ranked again by all evidence."""
