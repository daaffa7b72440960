"""Supervised fine-tuning: the policy's workers with cross-entropy on the response, and a model that is found again."""
