"""`python -m rl.evaluate`: held-out items asked and judged, two models compared."""
