"""Pure maths of the step: advantages, losses, log-probs, the order of prompts and rows. The estimators stand in a
room of their own. Imports nothing of the other rooms."""
