"""The configuration groups of Rounds, as data: `rl/config/door.py` reads them. Defaults live in `rl/config/schema.py`;
files here only override them."""
