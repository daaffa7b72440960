"""A recipe of ten lines over drawn pictures."""
