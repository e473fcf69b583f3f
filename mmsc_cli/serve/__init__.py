"""`mmsc serve`: the answers over HTTP, and a page to look at them. No torch, unless new items are asked about."""
