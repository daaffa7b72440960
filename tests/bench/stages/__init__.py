"""`python -m tests.bench.stages`: the four stages, and each left out once."""
