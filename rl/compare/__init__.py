"""`python -m rl.compare RUN OTHER ..`: gains of runs, their controls and other evaluations over each other, item by
item."""
