"""Text files that people wrote, and values on their way into an error: a leaf that all packages may import."""
