"""`python -m rl.export`: rollouts for the viewers of others."""
