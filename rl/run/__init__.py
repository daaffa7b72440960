"""What a run holds and tells: folder, metrics, tracking, progress, judge, warnings, failures."""
