"""Mathematical expressions: read by a grammar, compared by sympy in a child process."""
