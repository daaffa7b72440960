"""What was asked and what came back: records, media, prompts, engines, the store, the page."""
