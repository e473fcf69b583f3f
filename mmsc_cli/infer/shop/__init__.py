"""What the shop decides about answers, not the model: its rules, and bestsellers where there are too few answers."""
