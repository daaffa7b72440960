"""Rewards of others: loaded and called in child processes, so that none of their faults is the run's."""
