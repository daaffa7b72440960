"""Benchmarks as cards: where their rows are, how a row becomes a question, and what blindness earns on them."""
