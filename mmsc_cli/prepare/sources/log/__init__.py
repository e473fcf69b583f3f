"""Event logs: what is in each file, kept from night to night, and the pairs of items in one session."""
