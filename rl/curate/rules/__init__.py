"""From an item to its questions: one file a rule, and what the rules share."""
