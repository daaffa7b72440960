"""The configuration groups of Rounds, as data: `rl/compose.py` reads them. Defaults live in `rl/config.py`; files here only override them."""
