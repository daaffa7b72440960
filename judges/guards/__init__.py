"""What stands around a judge: checks before a call, suspicion after it, second opinions, panels, canaries."""
