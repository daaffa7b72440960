"""What must not stand on both sides of the split, or in an evaluation set: sources, patients, near copies,
questions."""
