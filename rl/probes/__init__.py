"""Probes: held-out items asked again with one thing changed, to see what an answer rests on; and what groups of answers
say. `rl/probes/table.py` lists them."""
