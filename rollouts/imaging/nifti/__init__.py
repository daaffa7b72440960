"""NIfTI volumes: one file, or a header with its data beside it."""
