"""One folder with one dataset and everything made from it: its manifest, stages, lock and checksums."""
