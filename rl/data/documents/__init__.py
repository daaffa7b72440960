"""Documents of texts and images for the stages before instruction tuning: read from JSON lines, or made of phantoms."""
