"""Pure maths of the step: advantages, losses, log-probs, the order of prompts and rows. Imports the configuration
only."""
