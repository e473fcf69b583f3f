"""Stage 2: items become text and image vectors."""
