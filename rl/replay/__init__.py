"""`python -m rl.replay`: stored completions scored again with other rewards or another judge."""
