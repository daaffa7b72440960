"""Draws completions: requests, the vLLM engine, and weights that are proved to be the ones asked for."""
