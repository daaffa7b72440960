"""Rollouts on disk: layout, writer, reader, and a check of what is there."""
