"""What a question must be to be kept; each filter has a name, and what it drops is counted under it."""
