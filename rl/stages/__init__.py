"""The stages of the paper before RL: documents in packed sequences, then captions, each from the model of the one before."""
