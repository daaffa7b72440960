"""The stages of the paper that learn from documents, each from the model of the one before."""
