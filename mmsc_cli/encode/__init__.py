"""Stage 2: texts and images become vectors."""
