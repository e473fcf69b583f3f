"""Stage 1: any source becomes items.parquet and pairs.parquet."""
