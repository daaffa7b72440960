"""Reads a completion: which part is the answer, and what it states."""
