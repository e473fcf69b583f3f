"""What a training takes over from the one before: what was learned and chosen, unless the catalogue has drifted."""
