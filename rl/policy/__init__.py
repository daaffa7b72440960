"""The trained model: micro-batches, forward and update, checkpoints."""
