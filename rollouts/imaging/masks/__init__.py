"""What is marked on an image or a volume: masks on its grid, the places they mark in words, and their outline."""
