"""The second stage: a learned ranking of the few hundred candidates that the first stage finds for each item."""
