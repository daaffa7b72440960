"""`python -m rl.report`: report.html, what a run learned in one file."""
