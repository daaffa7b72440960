"""`data=jsonl`: rows of a file of JSON lines."""
