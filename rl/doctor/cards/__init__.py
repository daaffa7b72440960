"""`python -m rl.doctor benchmark=[..]`: cards and their rows looked at without a model."""
