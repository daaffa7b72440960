"""The way to an endpoint and back: client, limits, retries, breaker, budget, and nothing secret in any text."""
