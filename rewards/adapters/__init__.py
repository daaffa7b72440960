"""Rewards of this project for other trainers: TRL and verl."""
