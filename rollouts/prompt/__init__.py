"""From a sample to what a model is given: messages, template, tokens, pixels."""
