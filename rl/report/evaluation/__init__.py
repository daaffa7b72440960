"""The report of an evaluation on benchmarks: one page, and its numbers as CSV and LaTeX."""
