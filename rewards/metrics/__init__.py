"""Metrics of reports and boxes as functions of stored rows, each with a signature that says how it was made; loads no
torch. What only a model can measure is asked of another Python."""
