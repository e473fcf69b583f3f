"""The answers for a whole catalogue, by shares: parts in files, which other processes write and this one reads."""
