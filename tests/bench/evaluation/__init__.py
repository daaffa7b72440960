"""What the statistics of evaluation promise and take: simulated comparisons, and thirty thousand rows at once."""
