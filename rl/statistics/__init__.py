"""Intervals, tests and scores as pure functions of per-row values and of clusters: rows of one image, video, patient or
article are no independent draws."""
