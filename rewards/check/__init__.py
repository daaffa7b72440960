"""`python -m rewards.check`: tries a reward before it trains anything."""
