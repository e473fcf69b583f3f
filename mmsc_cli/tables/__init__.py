"""The artefacts as tables: columns, reading and writing."""
