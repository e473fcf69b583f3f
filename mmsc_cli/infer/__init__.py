"""Stage 5: answers from the index alone; imports neither torch nor pandas."""
