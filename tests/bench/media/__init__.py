"""Benches of reading medical files."""
