"""How a model comes into memory: its outline first, then each rank's share of its weights."""
