"""What a recipe may say, read from YAML with the line of every fault."""
