"""`python -m rl.doctor`: composes a run without starting it, and checks what would stop it."""
